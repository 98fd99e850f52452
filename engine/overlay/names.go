package overlay

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// Kernel objects are named by kind and the beginning of the ID they belong to.
// A device's name has at most 15 bytes.
const (
	namespacePrefix = "ov-" // + 12 of the network ID
	bridgePrefix    = "wbr" // + 8 of the network ID, "-", rank
	vxlanPrefix     = "wvx" // likewise
	vethPrefix      = "wve" // + 12 of the endpoint ID
	barePrefix      = "wvt" // likewise: its other end, in the host's namespace
	idPart          = 12    // of an ID in a name
	deviceIDPart    = 8     // of a network's ID in a device's name
	maxSegments     = 1000  // ranks have three digits
	synthetic       = "~"   // begins IDs made up for adopted peers; sorts after real ones
	idAlphabet      = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	localMACPrefix  = 0x0257 // locally administered (02) and "W"
	bareMACBit      = 0x04   // of the first byte: 02 is Docker's, 06 nobody's
)

func part(id string, n int) string { return id[:min(n, len(id))] }

func namespaceName(networkID string) string { return namespacePrefix + part(networkID, idPart) }

func bridgeName(networkID string, rank int) string {
	return fmt.Sprintf("%s%s-%d", bridgePrefix, part(networkID, deviceIDPart), rank)
}

func vxlanName(networkID string, rank int) string {
	return fmt.Sprintf("%s%s-%d", vxlanPrefix, part(networkID, deviceIDPart), rank)
}

func vethName(endpointID string) string { return vethPrefix + part(endpointID, idPart) }

func bareName(endpointID string) string { return barePrefix + part(endpointID, idPart) }

// bareMAC gives the host's end of a bare endpoint an address other than that
// of the machine behind it.
func bareMAC(m model.MAC) model.MAC {
	m[0] ^= bareMACBit
	return m
}

// checkID makes sure that an ID can be part of file and device names.
func checkID(kind, id string) error {
	if id == "" || strings.Trim(id, idAlphabet) != "" {
		return fault.Invalid("%s ID %q: must be made of letters and digits", kind, id)
	}
	return nil
}

// bridgeMAC gives a segment's bridge an address that is its own on this node
// and the same after a restart.
func bridgeMAC(vtep netip.Addr, vni model.VNI) model.MAC {
	h := fnv.New32a()
	_, _ = h.Write(vtep.AsSlice())
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(vni)))
	var m model.MAC
	binary.BigEndian.PutUint16(m[:], localMACPrefix)
	binary.BigEndian.PutUint32(m[2:], h.Sum32())
	return m
}
