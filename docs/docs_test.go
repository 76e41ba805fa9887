package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// root is the folder of the repository.
const root = ".."

// pages returns every Markdown file of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "dist", "node_modules", "testdata"}, d.Name())) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	fence   = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	id      = regexp.MustCompile(`<a id="([^"]+)"></a>`)
)

// TestLinks (U44) holds that no link within the repository is dead, neither to a
// file nor to a section.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		text := read(t, page)
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, section, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), filepath.FromSlash(target))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if section != "" && !slices.Contains(sections(t, file), section) {
				t.Errorf("%s: %s has no such section", page, m[1])
			}
		}
	}
}

// sections returns the names by which links reach the sections of a page.
func sections(t *testing.T, page string) []string {
	t.Helper()
	text := read(t, page)
	var found []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		found = append(found, slug(m[1]))
	}
	for _, m := range id.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// slug is what GitHub makes of a heading.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteRune('-')
		case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		}
	}
	return b.String()
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryReasonHasARemedy (U17) holds that troubleshooting.md speaks of every
// reason that a condition can have, and of no other.
func TestEveryReasonHasARemedy(t *testing.T) {
	reasons := reasons(t)
	text := read(t, "troubleshooting.md")
	bad, fine, _ := strings.Cut(text, "## Reasons that are fine")
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(bad, -1) {
		headings = append(headings, m[1])
	}
	for _, reason := range reasons {
		if !slices.Contains(headings, reason) && !strings.Contains(fine, "`"+reason+"`") {
			t.Errorf("nothing is said of reason %s", reason)
		}
	}
	named := headings
	for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(fine, -1) {
		named = append(named, m[1])
	}
	for _, h := range named {
		if !slices.Contains(reasons, h) {
			t.Errorf("there is no reason %s", h)
		}
	}
}

// reasons returns the values of all constants Reason… of the API.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, value)
		return true
	})
	if len(found) < 20 {
		t.Fatalf("found %d reasons alone", len(found))
	}
	return found
}

// TestManifests holds that RelayClusters shown in full have no field that does not
// exist, and that parts of one, which begin with spec or one of its fields, neither.
func TestManifests(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```|<<YAML\n(.*?)\n *YAML\n")
	checked := 0
	for _, page := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(read(t, page), -1) {
			text := dedent(m[1] + m[2])
			switch first, _, _ := strings.Cut(text, ":"); first {
			case "apiVersion":
			case "spec":
			case "exposure", "autoscaling":
				text = "spec:\n  regions:\n  - name: a\n" + indent(text, "    ")
			default:
				continue
			}
			var c v1alpha1.RelayCluster
			if err := yaml.UnmarshalStrict([]byte(text), &c); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, text)
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("found %d manifests alone", checked)
	}
}

// dedent takes away what all lines are indented by.
func dedent(text string) string {
	text = strings.TrimRight(text, " \n") + "\n"
	margin := len(text) - len(strings.TrimLeft(text, " "))
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(line[min(margin, len(line)-1):])
	}
	return b.String()
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}
