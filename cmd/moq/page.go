package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	demopage "github.com/moqrelay/moqrelay/cmd/moq/internal/demo"
)

// leaveTime is how long answers under way may take once the page is to end.
const leaveTime = 5 * time.Second

// page is the command that serves the page for browsers on its own, for
// relays that run somewhere else.
type page struct {
	*environment
	listen, base string
	nodes        []string        // as they were given
	config       demopage.Config // what the page knows
}

func newPage(env *environment) *cobra.Command {
	p := &page{environment: env}
	cmd := &cobra.Command{
		Use:   "page --node NAME,REGION,URL",
		Short: "Serve the page on which people publish and watch in a browser",
		Long: `Serve the page on which people publish and watch in a browser, for relays that
run somewhere else. Its address is the first line of standard output.

Browsers give a page codecs, cameras and WebTransport on https and on localhost
only: put something before it that speaks https, or reach it by a port forward.
A relay with an https URL needs a certificate that browsers trust. Of one with
an http URL they pin the certificate that it names at /certificate.sha256, which
a page on https is not allowed to ask for.`,
		Example: `  moq page --node eu-0,eu,http://127.0.0.1:4451 --node us-0,us,http://127.0.0.1:4461
  moq page --listen :8080 --cluster live --node eu,eu,https://eu.example.com --node us,us,https://us.example.com`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context()) },
	}
	fs := cmd.Flags()
	fs.StringVar(&p.listen, "listen", "127.0.0.1:8081", "`ADDRESS` to serve at, over HTTP")
	fs.StringVar(&p.base, "base", "/", "`PATH` to serve below, with a slash at both ends")
	fs.StringArrayVar(&p.nodes, "node", nil, "a relay to offer, as `NAME,REGION,URL`; repeatable, at least one")
	fs.StringVar(&p.config.Cluster, "cluster", "live", "`NAME` of the network, shown on the page")
	fs.StringVar(&p.config.Status, "status", "", "`URL` of the status page, relative to the page (default none)")
	return cmd
}

// parseNode reads a value of --node.
func parseNode(s string) (demopage.Node, error) {
	wrong := func(format string, args ...any) error {
		return misused("--node eu-0,eu,https://relay.example.com: name, region and URL of a relay", "--node %q: %s", s, fmt.Sprintf(format, args...))
	}
	parts := strings.SplitN(s, ",", 3)
	if len(parts) != 3 || parts[0] == "" {
		return demopage.Node{}, wrong("not of the form NAME,REGION,URL")
	}
	u, err := url.Parse(parts[2])
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return demopage.Node{}, wrong("%q is not the http or https URL of a relay", parts[2])
	}
	return demopage.Node{Name: parts[0], Region: parts[1], Role: "node", URL: parts[2]}, nil
}

// read takes in the flags.
func (p *page) read() error {
	if len(p.nodes) == 0 {
		return misused("--node eu-0,eu,http://127.0.0.1:4451: name, region and URL of a relay", "--node is missing")
	}
	if !strings.HasPrefix(p.base, "/") || !strings.HasSuffix(p.base, "/") {
		return misused("--base /demo/", "--base %q has no slash at both ends", p.base)
	}
	p.config.CLI = "moq" // who reads the page is not where this program lies
	names := make(map[string]bool)
	for _, s := range p.nodes {
		n, err := parseNode(s)
		if err != nil {
			return err
		}
		if names[n.Name] {
			return misused("give each relay a name of its own", "--node %q: there is another %s", s, n.Name)
		}
		names[n.Name] = true
		p.config.Nodes = append(p.config.Nodes, n)
	}
	return nil
}

// run serves until ctx is done.
func (p *page) run(ctx context.Context) error {
	if err := p.read(); err != nil {
		return err
	}
	if !demopage.Built() {
		return failed(errors.New("the page is not in this program"), "run \"make page\", which needs Node.js 20.19 or later, then \"make build\"")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return failed(err, "choose another port by --listen, or stop what uses this one: \"ss -lntp\" names it")
	}
	if err != nil {
		return failed(err, "--listen takes ADDRESS:PORT, such as 127.0.0.1:8081 or :8081")
	}
	mux := http.NewServeMux()
	mux.Handle(p.base, demopage.Handler(p.base, func() demopage.Config { return p.config }))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1) // the server's end, whether or not anybody waits
	go func() { ended <- server.Serve(l) }()
	fmt.Fprintln(p.stdout, address(l.Addr())+p.base)
	select {
	case err := <-ended:
		return failed(err, "start it again")
	case <-ctx.Done():
	}
	leave, done := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer done()
	err = server.Shutdown(leave)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// address returns the URL by which people of this machine reach a listener;
// browsers trust the name localhost.
func address(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() && !tcp.IP.IsUnspecified() {
		return "http://" + a.String()
	}
	return fmt.Sprintf("http://localhost:%d", tcp.Port)
}
