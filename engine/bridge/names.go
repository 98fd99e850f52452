package bridge

import (
	"hash/fnv"

	"weft/engine/model"
)

// Kernel objects are named by kind and the beginning of the ID they belong to.
// A device's name has at most 15 bytes.
const (
	bridgePrefix = "br-"  // + 12 of the network ID, as Docker names its own
	vethPrefix   = "weft" // + 11 of the endpoint ID
	tableName    = "weft-bridge"
)

func defaultName(networkID string) string { return bridgePrefix + networkID[:min(12, len(networkID))] }

func vethName(endpointID string) string { return vethPrefix + endpointID[:min(11, len(endpointID))] }

// bridgeMAC is the same after a restart: neighbors know it.
func bridgeMAC(networkID string) model.MAC {
	h := fnv.New32a()
	_, _ = h.Write([]byte(networkID))
	sum := h.Sum(nil)
	return model.MAC{0x02, 0x57, sum[0], sum[1], sum[2], sum[3]} // locally administered, and "W"
}
