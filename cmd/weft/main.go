// Command weft is the command line and, as `weft engine run`, the engine. It
// is also what the engine and the lab start, under other names.
package main

import (
	"fmt"
	"os"

	"weft/commands"
	"weft/commands/enginecmd"
	"weft/commands/labcmd"
)

func main() {
	for _, entry := range []func([]string) (int, bool){enginecmd.Entry, labcmd.Entry} {
		if code, ok := entry(os.Args); ok {
			os.Exit(code)
		}
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weft can't find its own binary:", err)
		os.Exit(1)
	}
	os.Exit(commands.Main(os.Args[1:], commands.WithSelf(self, enginecmd.New), commands.WithSelf(self, labcmd.New)))
}
