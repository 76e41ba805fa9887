package monitoring

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The names are those of Grafana's dashboard model. Only panels that come with
// Grafana are in it.
type (
	// Dashboard is what Grafana imports.
	Dashboard struct {
		UID           string     `json:"uid"`
		Title         string     `json:"title"`
		Description   string     `json:"description"`
		Tags          []string   `json:"tags"`
		SchemaVersion int        `json:"schemaVersion"`
		Editable      bool       `json:"editable"`
		GraphTooltip  int        `json:"graphTooltip"`
		Refresh       string     `json:"refresh"`
		Time          timeRange  `json:"time"`
		Templating    templating `json:"templating"`
		Panels        []Panel    `json:"panels"`
	}
	timeRange struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	templating struct {
		List []variable `json:"list"`
	}
	variable struct {
		Name       string      `json:"name"`
		Label      string      `json:"label"`
		Type       string      `json:"type"`
		Query      string      `json:"query"`
		Datasource *datasource `json:"datasource,omitempty"`
		Refresh    int         `json:"refresh,omitempty"`
		Sort       int         `json:"sort,omitempty"`
		IncludeAll bool        `json:"includeAll"`
		AllValue   string      `json:"allValue,omitempty"`
		Multi      bool        `json:"multi"`
		Current    any         `json:"current,omitempty"`
	}
	datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	// Panel is a panel, or the head of a row of them.
	Panel struct {
		ID              int          `json:"id"`
		Type            string       `json:"type"`
		Title           string       `json:"title"`
		Description     string       `json:"description,omitempty"`
		GridPos         gridPos      `json:"gridPos"`
		Datasource      *datasource  `json:"datasource,omitempty"`
		Targets         []Target     `json:"targets,omitempty"`
		FieldConfig     *fieldConfig `json:"fieldConfig,omitempty"`
		Options         any          `json:"options,omitempty"`
		Transformations []any        `json:"transformations,omitempty"`
	}
	gridPos struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	// Target is a query of a panel.
	Target struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat,omitempty"`
		Format       string `json:"format,omitempty"`
		Instant      bool   `json:"instant,omitempty"`
		Range        bool   `json:"range"`
	}
	fieldConfig struct {
		Defaults  fieldDefaults `json:"defaults"`
		Overrides []any         `json:"overrides"`
	}
	fieldDefaults struct {
		Unit       string         `json:"unit,omitempty"`
		Min        *float64       `json:"min,omitempty"`
		Custom     map[string]any `json:"custom,omitempty"`
		Thresholds *thresholds    `json:"thresholds,omitempty"`
	}
	thresholds struct {
		Mode  string      `json:"mode"`
		Steps []threshold `json:"steps"`
	}
	threshold struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	}
)

// source is the data source that a viewer of the dashboard has chosen.
var source = &datasource{Type: "prometheus", UID: "${datasource}"}

// columns is the width of Grafana's grid.
const columns = 24

// A query is an expression and what its lines are called.
type query struct{ expr, legend string }

// A row is a title and panels beside and below each other.
type row struct {
	title  string
	panels []Panel
}

// lay gives rows and panels their ids and places, and a data source to those
// that ask something.
func lay(rows []row) []Panel {
	var all []Panel
	y := 0
	add := func(p Panel, x, y int) {
		p.ID = len(all) + 1
		p.GridPos.X, p.GridPos.Y = x, y
		all = append(all, p)
	}
	for _, r := range rows {
		add(Panel{Type: "row", Title: r.title, GridPos: gridPos{H: 1, W: columns}}, 0, y)
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.GridPos.W > columns {
				x, y, height = 0, y+height, 0
			}
			p.Datasource = source
			add(p, x, y)
			x += p.GridPos.W
			height = max(height, p.GridPos.H)
		}
		y += height
	}
	return all
}

func targets(queries []query) []Target {
	var ts []Target
	for i, q := range queries {
		ts = append(ts, Target{RefID: string(rune('A' + i)), Expr: selected(q.expr), LegendFormat: q.legend, Range: true})
	}
	return ts
}

// The labels by which a viewer narrows down what is shown: a $relay in a query
// stands for those of relays, a $operator for those of the operator's metrics.
const (
	relaySelector    = `namespace=~"$namespace",cluster=~"$cluster",region=~"$region",pod=~"$pod"`
	operatorSelector = `namespace=~"$namespace",name=~"$cluster"`
)

func selected(expr string) string {
	expr = strings.ReplaceAll(expr, "$relay", relaySelector)
	return strings.ReplaceAll(expr, "$operator", operatorSelector)
}

// stat is one number; it turns red at bad, if that is not zero, and with a
// negative bad below its amount.
func stat(title, description, unit string, bad float64, q query) Panel {
	steps := []threshold{{"green", nil}}
	switch {
	case bad > 0:
		steps = append(steps, threshold{"red", &bad})
	case bad < 0:
		bad = -bad
		steps = []threshold{{"red", nil}, {"green", &bad}}
	}
	return Panel{
		Type: "stat", Title: title, Description: description, GridPos: gridPos{H: 4, W: 4},
		Targets:     targets([]query{q}),
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, Thresholds: &thresholds{"absolute", steps}}, Overrides: []any{}},
		Options: map[string]any{
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}},
			"colorMode":     "value", "graphMode": "area",
		},
	}
}

// graph is lines over time, a third of the width.
func graph(title, description, unit string, queries ...query) Panel {
	zero := 0.0
	return Panel{
		Type: "timeseries", Title: title, Description: description, GridPos: gridPos{H: 8, W: 8},
		Targets: targets(queries),
		FieldConfig: &fieldConfig{
			Defaults:  fieldDefaults{Unit: unit, Min: &zero, Custom: map[string]any{"fillOpacity": 10, "showPoints": "never"}},
			Overrides: []any{},
		},
		Options: map[string]any{
			"legend":  map[string]any{"displayMode": "table", "placement": "bottom", "calcs": []string{"lastNotNull", "max"}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		},
	}
}

// heatmap shows the buckets of a histogram over time.
func heatmap(title, description, bucket string) Panel {
	ts := targets([]query{{fmt.Sprintf("sum by (le) (increase(%s[$__rate_interval]))", bucket), "{{le}}"}})
	ts[0].Format = "heatmap"
	return Panel{
		Type: "heatmap", Title: title, Description: description, GridPos: gridPos{H: 8, W: 8},
		Targets: ts,
		Options: map[string]any{
			"calculate": false, "yAxis": map[string]any{"unit": "s"},
			"color": map[string]any{"mode": "scheme", "scheme": "Oranges"},
		},
	}
}

// list is a table of what is now, with the given columns left out.
func list(title, description, unit string, q query, without ...string) Panel {
	ts := targets([]query{q})
	ts[0].Format, ts[0].Instant, ts[0].Range = "table", true, false
	hidden := map[string]bool{"Time": true}
	for _, name := range without {
		hidden[name] = true
	}
	return Panel{
		Type: "table", Title: title, Description: description, GridPos: gridPos{H: 8, W: 8},
		Targets:     ts,
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit}, Overrides: []any{}},
		Transformations: []any{map[string]any{
			"id": "organize", "options": map[string]any{"excludeByName": hidden},
		}},
	}
}

// JSON returns the dashboard as Grafana imports it.
func (d Dashboard) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
