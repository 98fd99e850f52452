package model

import "time"

// AnonymousVolume is the label of a volume that nobody named.
const AnonymousVolume = "com.docker.volume.anonymous"

// VolumeDriver is the driver of every volume; Docker's name of it.
const VolumeDriver = "local"

// Volume is a directory of this node that outlives the containers using it.
type Volume struct {
	Name    string
	Labels  map[string]string
	Options map[string]string // type, device and o: what is mounted on it; none: a plain directory
	Created time.Time
	Path    string // of its data on this node
}

// VolumeRequest asks for a volume. Without a name it gets one of 64 digits.
type VolumeRequest struct {
	Name    string
	Driver  string // empty: local
	Labels  map[string]string
	Options map[string]string
}
