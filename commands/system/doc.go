// Package system holds the commands about the engine as a whole: version,
// info, events, and inspect, which finds objects of any kind.
//
// info and version also say which engine answered and how it was found, which
// docker has no need to. Otherwise flags, layout and wording are those of
// docker 28.5.2 (github.com/docker/cli, cli/command/system). The package owns
// no connection and changes nothing.
package system
