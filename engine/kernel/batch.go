package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// chunkBytes is how much one write carries. Measured: larger ones gain
	// nothing, and the kernel copies each into one allocation.
	chunkBytes = 30 << 10
	// chunkMessages bounds the answers of one write in the worst case, all of
	// them errors, to what a socket's default receive buffer (212,992 bytes)
	// holds at the kernel's 768 bytes for a small buffer.
	chunkMessages = 256
	// attrAlign is NLA_ALIGNTO and NLMSG_ALIGNTO.
	attrAlign = 4
)

// Batch collects netlink messages to be written many at a time. The zero
// value is an empty batch. It is not safe for concurrent use.
type Batch struct {
	buf    []byte
	starts []int
}

// Len gives the number of messages begun.
func (b *Batch) Len() int { return len(b.starts) }

// Begin starts a message of that type with its family header (ndmsg, ifinfomsg
// and so on, in the kernel's layout). NLM_F_REQUEST is implied; NLM_F_ACK is
// the batch's own.
func (b *Batch) Begin(msgType, flags uint16, header []byte) {
	b.starts = append(b.starts, len(b.buf))
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0) // length: set by finish
	b.buf = binary.NativeEndian.AppendUint16(b.buf, msgType)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags&^unix.NLM_F_ACK|unix.NLM_F_REQUEST)
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0) // sequence: set by Send; port: the kernel knows
	b.buf = append(b.buf, header...)
	b.pad()
}

// Attr appends an attribute to the message begun last.
func (b *Batch) Attr(attrType uint16, value []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(unix.SizeofNlAttr+len(value))) //nolint:gosec // values are addresses
	b.buf = binary.NativeEndian.AppendUint16(b.buf, attrType)
	b.buf = append(b.buf, value...)
	b.pad()
}

func (b *Batch) pad() {
	for len(b.buf)%attrAlign != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *Batch) end(i int) int {
	if i+1 < len(b.starts) {
		return b.starts[i+1]
	}
	return len(b.buf)
}

// chunk gives the end of the run of messages beginning with from that one
// write carries.
func (b *Batch) chunk(from int) int {
	to := from + 1
	for to < len(b.starts) && to-from < chunkMessages && b.end(to)-b.starts[from] <= chunkBytes {
		to++
	}
	return to
}

// Failure is the kernel's refusal of one message of a batch.
type Failure struct {
	Index int // of the message, in the order of Begin
	Err   error
}

// Send writes b to the routing netlink of ns and waits until the kernel has
// done all of it. One refused message does not stop the others: failures lists
// them, in order. err means that the rest of the batch may not have been done.
// b can be sent again.
func (ns *Namespace) Send(b *Batch) (failures []Failure, err error) {
	if b.Len() == 0 {
		return nil, nil
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.batch == nil {
		if ns.batch, err = openBatchSocket(ns); err != nil {
			return nil, err
		}
	}
	for from := 0; from < b.Len(); {
		to := b.chunk(from)
		failed, err := ns.batch.exchange(b, from, to)
		failures = append(failures, failed...)
		if err != nil {
			return failures, fmt.Errorf("write netlink messages %d to %d of %d: %w", from+1, to, b.Len(), err)
		}
		from = to
	}
	return failures, nil
}

// batchSocket is a routing netlink socket. Its namespace's mutex guards it.
type batchSocket struct {
	fd  int
	seq uint32
	buf []byte
}

func openBatchSocket(ns *Namespace) (*batchSocket, error) {
	s := &batchSocket{buf: make([]byte, 64<<10)}
	err := Do(ns, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink in %s: %w", ns.path, err)
	}
	// Answers without a copy of the question, but with the kernel's words.
	// Kernels before 4.3 and 4.12 don't know these; the answers are longer then.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return s, nil
}

func (s *batchSocket) close() { _ = unix.Close(s.fd) }

// exchange writes messages from to to (exclusive), the last one asking for an
// acknowledgement, and reads the answers. rtnetlink works within the write:
// when it returns, every answer is in the receive queue.
//
//nolint:gocognit // one loop over the answers of one write, with every case a line
func (s *batchSocket) exchange(b *Batch, from, to int) ([]Failure, error) {
	first := s.seq + 1
	for i := from; i < to; i++ {
		msg := b.buf[b.starts[i]:b.end(i)]
		s.seq++
		binary.NativeEndian.PutUint32(msg[0:], uint32(len(msg))) //nolint:gosec // a few dozen bytes
		binary.NativeEndian.PutUint32(msg[8:], s.seq)
		flags := binary.NativeEndian.Uint16(msg[6:]) &^ unix.NLM_F_ACK
		if i == to-1 {
			flags |= unix.NLM_F_ACK
		}
		binary.NativeEndian.PutUint16(msg[6:], flags)
	}
	chunk := b.buf[b.starts[from]:b.end(to-1)]
	if err := unix.Sendto(s.fd, chunk, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var failures []Failure
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return failures, errors.New("the kernel did not acknowledge")
		}
		if err != nil {
			return failures, err
		}
		answers := parseAnswers(s.buf[:n])
		for _, a := range answers {
			if a.seq-first >= uint32(to-from) { //nolint:gosec // at most chunkMessages
				continue // of an exchange that broke off
			}
			if a.err != nil {
				failures = append(failures, Failure{Index: from + int(a.seq-first), Err: a.err})
			}
			if a.seq == s.seq {
				return failures, nil
			}
		}
	}
}

type answer struct {
	seq uint32
	err error
}

// parseAnswers takes a datagram of NLMSG_ERROR messages apart (struct nlmsghdr,
// then struct nlmsgerr: error, header of the question, attributes).
func parseAnswers(data []byte) []answer {
	const errEnd = unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr
	var out []answer
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return out
		}
		if binary.NativeEndian.Uint16(data[4:]) == unix.NLMSG_ERROR && size >= errEnd {
			a := answer{seq: binary.NativeEndian.Uint32(data[8:])}
			code := int32(binary.NativeEndian.Uint32(data[unix.SizeofNlMsghdr:])) //nolint:gosec // signed in struct nlmsgerr
			if code != 0 {
				a.err = unix.Errno(-code) //nolint:gosec // positive: the kernel's are negative
				if text := errorText(data[:size], errEnd); text != "" {
					a.err = fmt.Errorf("%w (%s)", a.err, text)
				}
			}
			out = append(out, a)
		}
		data = data[min(len(data), (size+attrAlign-1)&^(attrAlign-1)):]
	}
	return out
}

// errorText finds the kernel's explanation (NLMSGERR_ATTR_MSG) behind an error
// whose question was cut to its header (NLM_F_CAPPED).
func errorText(msg []byte, from int) string {
	const wanted = unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED
	if binary.NativeEndian.Uint16(msg[6:])&wanted != wanted {
		return ""
	}
	for attrs := msg[from:]; len(attrs) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofNlAttr || size > len(attrs) {
			return ""
		}
		if binary.NativeEndian.Uint16(attrs[2:]) == unix.NLMSGERR_ATTR_MSG {
			return unix.ByteSliceToString(attrs[unix.SizeofNlAttr:size])
		}
		attrs = attrs[min(len(attrs), (size+attrAlign-1)&^(attrAlign-1)):]
	}
	return ""
}
