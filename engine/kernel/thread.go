package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNamespace names the calling thread's network namespace. /proc/self
// would name the first thread's.
const threadNamespace = "/proc/thread-self/ns/net"

// errEnded is what Do reports when fn ended its goroutine (runtime.Goexit, as
// testing's FailNow does) and so returned nothing.
var errEnded = errors.New("the function ended its goroutine")

// Do runs fn in the namespace ns, on a thread of its own, and waits for it.
// Processes that fn starts are born in ns, and sockets it opens stay there
// when used elsewhere afterwards. Goroutines that fn starts run outside.
func Do(ns *Namespace, fn func() error) error {
	return elsewhere(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns.path, err)
		}
		return nil
	}, fn)
}

// elsewhere runs fn on a locked thread after enter has changed that thread's
// namespace. Should the way back fail, the thread ends with its goroutine and
// nothing else ever runs on it.
func elsewhere(enter, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() { result <- err }()
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread is the one /proc/self and
			// /proc/<pid> show to everybody. Held here, it leaves another
			// thread to the inner call.
			defer runtime.UnlockOSThread()
			err = elsewhere(enter, fn)
			return
		}
		home, openErr := os.Open(threadNamespace)
		if openErr != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("open the thread's network namespace: %w", openErr)
			return
		}
		defer func() {
			if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			_ = home.Close()
		}()
		if enterErr := enter(); enterErr != nil {
			err = enterErr
			return
		}
		err = fn()
	}()
	return <-result
}
