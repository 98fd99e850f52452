// Command weft is the command line and, as `weft engine run`, the engine.
package main

import (
	"os"

	"weft/commands"
)

func main() {
	os.Exit(commands.Main(os.Args[1:]))
}
