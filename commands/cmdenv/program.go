package cmdenv

// Program is the name commands call themselves by in advice to the user.
const Program = "weft"

// AliasesAnnotation holds, on a command that can be called by other names than
// its aliases, all of them as its help lists them.
const AliasesAnnotation = "aliases"
