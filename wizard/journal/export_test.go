package journal

// Encode is encode.
func Encode(r Record) ([]byte, error) { return encode(r) }
