package cmdenv

// Program is the name commands call themselves by in advice to the user.
const Program = "weft"
