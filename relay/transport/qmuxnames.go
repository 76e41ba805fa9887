package transport

import (
	"net/http"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

// Framings in the order we prefer them, in a pair and, for bare names, alone.
var (
	pairFramings = []qmux.Version{qmux.Version01, qmux.Version02, qmux.Version00}
	bareFramings = []qmux.Version{qmux.Version01, qmux.Version02, qmux.Version00, qmux.Legacy}
)

// choice is what the subprotocol of a WebSocket says.
type choice struct {
	name    string // as it was offered, "" if nothing was
	version qmux.Version
	token   string // of the application; "" leaves it to the session to agree on a version
}

// pairName is the subprotocol of a framing and an application's token.
func pairName(v qmux.Version, token string) string { return v.String() + "." + token }

// chooseSubprotocol picks from what a client offered: the first of tokens that it
// knows with any framing, else a bare framing. A client that offers nothing at
// all speaks the oldest framing. It returns false if all that was offered is
// unknown.
func chooseSubprotocol(offered, tokens []string) (choice, bool) {
	if len(offered) == 0 {
		return choice{version: qmux.Legacy}, true
	}
	for _, token := range tokens {
		for _, v := range pairFramings {
			if name := pairName(v, token); slices.Contains(offered, name) {
				return choice{name, v, token}, true
			}
		}
	}
	for _, v := range bareFramings {
		if name := v.String(); slices.Contains(offered, name) {
			return choice{name: name, version: v}, true
		}
	}
	return choice{}, false
}

// readSubprotocol says what a server means that picked name from our offer.
func readSubprotocol(name string) (choice, bool) {
	if name == "" {
		return choice{version: qmux.Legacy}, true
	}
	framing, token, _ := strings.Cut(name, ".")
	for _, v := range bareFramings {
		if v.String() == framing {
			return choice{name, v, token}, true
		}
	}
	return choice{}, false
}

// headerTokens returns the elements of a header that is a list.
func headerTokens(h http.Header, name string) []string {
	var tokens []string
	for _, line := range h.Values(name) {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.TrimSpace(token); token != "" {
				tokens = append(tokens, token)
			}
		}
	}
	return tokens
}

// originAllowed says whether a page of the request's origin may open sessions.
// Programs that are no pages name none.
func (e *Endpoint) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	allowed := e.config.AllowedOrigins
	return origin == "" || len(allowed) == 0 ||
		slices.ContainsFunc(allowed, func(a string) bool { return a == "*" || strings.EqualFold(a, origin) })
}
