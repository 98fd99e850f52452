package gossip

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/docker/docker/libnetwork/networkdb"

	"weft/engine/fault"
	"weft/engine/model"
)

// Store keeps small values over a restart of the engine. Load gives nil for a
// key it does not have, Save with nil forgets it.
type Store interface {
	Load(key string) ([]byte, error)
	Save(key string, value []byte) error
}

// Config says who this node is. All fields but BindAddr are needed.
type Config struct {
	Hostname      string
	BindAddr      netip.Addr // zero: every address
	AdvertiseAddr netip.Addr // where the other nodes reach this one
	Port          int        // tcp and udp, the same on all nodes; Docker's is 7946
	Keys          []model.GossipKey
	// Seeds gives the addresses of the swarm's managers. It is asked whenever
	// there are peers to look for, and may give this node's own.
	Seeds func() []netip.Addr
	Store Store
	Log   *slog.Logger
	Now   func() time.Time

	times times
}

// times are the delays tests shorten.
type times struct {
	dial    time.Duration // for a seed to answer
	sync    time.Duration // for the peers to send a network's rows
	resync  time.Duration // to do so when we have most of them
	turn    time.Duration // for others to finish what should not overlap
	watch   time.Duration // between looks at our own state
	retry   time.Duration // first delay between attempts to join; doubles
	patrol  time.Duration // between looks for managers we do not hear
	grace   time.Duration // for rows of the previous run to be published again
	abandon time.Duration // between a session and its successor; doubles

	acquaint time.Duration // in which others may join a network at the same time as we do
}

func defaultTimes() times {
	return times{
		dial:    2 * time.Second,
		sync:    5 * time.Second,
		resync:  time.Second,
		turn:    500 * time.Millisecond,
		watch:   2 * time.Second,
		retry:   time.Second,
		patrol:  30 * time.Second,
		grace:   20 * time.Second,
		abandon: time.Second,

		acquaint: 3 * time.Second,
	}
}

func (c *Config) check() error {
	switch {
	case !c.AdvertiseAddr.IsValid() || c.AdvertiseAddr.IsUnspecified():
		return fault.Invalid("gossip needs the address other nodes reach this one at: give --advertise-addr")
	case c.Port < 1 || c.Port > 65535:
		return fault.Invalid("gossip port %d is not between 1 and 65535", c.Port)
	case c.Seeds == nil || c.Store == nil || c.Log == nil || c.Now == nil:
		return fault.Internal("gossip configuration is incomplete")
	}
	c.AdvertiseAddr = c.AdvertiseAddr.Unmap()
	if !c.BindAddr.IsValid() {
		c.BindAddr = netip.IPv4Unspecified()
		if c.AdvertiseAddr.Is6() {
			c.BindAddr = netip.IPv6Unspecified()
		}
	}
	if c.times == (times{}) {
		c.times = defaultTimes()
	}
	return nil
}

// bindPort gives where the gossip listens.
func (c *Config) bindPort() netip.AddrPort {
	return netip.AddrPortFrom(c.BindAddr, uint16(c.Port)) //nolint:gosec // check has seen its range
}

// CheckPort fails when the gossip cannot listen at ap: with a Conflict when the
// port is taken, with Invalid when no interface has the address. networkdb's
// own error for that is text only.
func CheckPort(ap netip.AddrPort) error {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
	if err != nil {
		return bindError(ap, "tcp", err)
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(ap))
	if err != nil {
		return errors.Join(bindError(ap, "udp", err), tcp.Close())
	}
	return errors.Join(udp.Close(), tcp.Close())
}

func bindError(ap netip.AddrPort, proto string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Conflict("gossip port %d/%s on %s is in use: stop what listens there (another engine or dockerd?); a swarm node needs %d/tcp and %d/udp", ap.Port(), proto, ap.Addr(), ap.Port(), ap.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.Invalid("gossip cannot listen on %s: no interface of this node has that address, give another --listen-addr or --advertise-addr", ap.Addr())
	default:
		return fault.Unavailable("listen on gossip port %d/%s: %w", ap.Port(), proto, err)
	}
}

// networkDB gives the configuration of a session.
func (c *Config) networkDB(id string, keys [][]byte) *networkdb.Config {
	cfg := networkdb.DefaultConfig()
	cfg.NodeID = id
	cfg.Hostname = c.Hostname
	cfg.BindAddr = c.BindAddr.String()
	cfg.AdvertiseAddr = c.AdvertiseAddr.String()
	cfg.BindPort = c.Port
	cfg.Keys = keys
	return cfg
}

// newID makes a node ID of Docker's length (networkdb.DefaultConfig).
func newID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
