// Package netnstest gives tests hosts made of network namespaces, with an
// underlay between them, and counts what a test leaves behind.
//
// Everything lives in a temporary directory of the test and ends with it: the
// host's own namespace, /run/netns included, is never touched. It needs root,
// and `ip` from iproute2; a test that has not got them skips on the typed error
// of kernel.Probe. It is for tests only and fails them through testing.TB.
package netnstest
