// Package cmdenv is what a command is given of the world: its streams and what
// is known of the terminal behind them, the clock, the environment, Docker's
// client configuration, and the engine it talks to.
//
// It owns the choice of the engine (flags, DOCKER_HOST, contexts, the default
// sockets) and opens the API client when a command first asks for it, so that
// help and completion scripts touch no socket. It is the only package that
// imports the Docker client and, with cmd, the only one that touches the
// process's standard streams; commands take narrow interfaces and writers.
//
// It also owns the few things every command shares: argument counts in
// Docker's words, the confirmation prompt, and StatusError, by which a command
// chooses its exit code. It does not print results (render does) and does not
// exit (commands.Main decides the code).
//
// An Env is made once per invocation, by System or literally in a test, and
// closed by whoever made it. It is safe for concurrent use once flags are
// parsed.
package cmdenv
