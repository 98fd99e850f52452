package probe

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Answer is what the HTTP server tells about a request: who served it and
// whose address it saw.
type Answer struct {
	Hostname string `json:"hostname"`
	Client   string `json:"client"` // address and port the request came from
	Server   string `json:"server"` // address and port it came to
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
}

// requestGrace is how long requests may take on when the server ends.
const requestGrace = 3 * time.Second

// udpSize is the largest UDP payload over IPv4.
const udpSize = 65507

func serve(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	page := fs.String("http", ":80", "address to serve HTTP on, and to answer datagrams with who sent them")
	echo := fs.String("echo", ":7", "address to echo TCP and UDP on")
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	var lc net.ListenConfig
	web, err := lc.Listen(ctx, "tcp", *page)
	if err != nil {
		return err
	}
	tcp, err := lc.Listen(ctx, "tcp", *echo)
	if err != nil {
		return errors.Join(err, web.Close())
	}
	// One socket for both families, bound to the wildcard address: the server
	// that source addresses go wrong with first. Its port is TCP's, even if that
	// was any.
	udp, err := lc.ListenPacket(ctx, "udp", tcp.Addr().String())
	if err != nil {
		return errors.Join(err, web.Close(), tcp.Close())
	}
	who, err := lc.ListenPacket(ctx, "udp", web.Addr().String())
	if err != nil {
		return errors.Join(err, web.Close(), tcp.Close(), udp.Close())
	}
	fmt.Fprintf(s.out, "probe: HTTP on %s, echo on tcp and udp %s\n", web.Addr(), tcp.Addr())
	srv := &http.Server{Handler: handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
	var parts sync.WaitGroup
	parts.Go(func() { _ = srv.Serve(web) })
	parts.Go(func() { echoTCP(ctx, tcp) })
	parts.Go(func() { answerUDP(ctx, udp, sameAgain) })
	parts.Go(func() { answerUDP(ctx, who, whoUDP) })
	<-ctx.Done()
	// Requests that came before the end are answered.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestGrace)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		err = srv.Close()
	}
	err = errors.Join(err, tcp.Close(), udp.Close(), who.Close())
	parts.Wait()
	return err
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/reach", func(w http.ResponseWriter, r *http.Request) {
		var to []string
		if q := r.URL.Query().Get("to"); q != "" {
			to = strings.Split(q, ",")
		}
		writeJSON(w, reachAll(r.Context(), to, reachTimeout))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, _ := os.Hostname()
		a := Answer{Hostname: name, Client: r.RemoteAddr, Method: r.Method, Host: r.Host, Path: r.URL.Path}
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			a.Server = local.String()
		}
		writeJSON(w, a)
	})
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

func echoTCP(ctx context.Context, l net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if goesOn(ctx, err) {
				continue
			}
			return
		}
		conns.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			_, _ = io.Copy(c, c)
			_ = c.Close()
		})
	}
}

func sameAgain(asked []byte, _ net.Addr) []byte { return asked }

// whoUDP answers a datagram as the HTTP server does a request.
func whoUDP(_ []byte, from net.Addr) []byte {
	name, _ := os.Hostname()
	b, _ := json.Marshal(Answer{Hostname: name, Client: from.String(), Method: "UDP"}) // strings alone
	return append(b, '\n')
}

// answerUDP gives every datagram what answer makes of it.
func answerUDP(ctx context.Context, c net.PacketConn, answer func(asked []byte, from net.Addr) []byte) {
	own := portOf(c.LocalAddr())
	buf := make([]byte, udpSize)
	for {
		n, from, err := c.ReadFrom(buf)
		switch {
		case err == nil && portOf(from) != own:
			_, _ = c.WriteTo(answer(buf[:n], from), from)
		case err == nil:
			// Not to another such server, which would send it back: one datagram
			// with a forged source would be enough for ever.
		case !goesOn(ctx, err):
			return
		}
	}
}

func portOf(a net.Addr) int {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.Port
	}
	return 0
}

// retryPause is how long a server without descriptors or memory waits for
// some. It is what net/http comes to.
const retryPause = time.Second

// goesOn waits after an error of a server's socket, and gives false when there
// is nothing to wait for.
func goesOn(ctx context.Context, err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
