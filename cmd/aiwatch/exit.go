package main

import (
	"errors"
	"fmt"
)

// Exit codes of the program.
const (
	exitDone        = 0  // all was done
	exitFailed      = 1  // something failed
	exitUsage       = 2  // the command line or the configuration is wrong
	exitFound       = 3  // done, and something was found (inspect, audit)
	exitUnavailable = 69 // a source or destination can't be reached
	exitState       = 74 // the state is damaged or can't be written
	exitHeld        = 75 // another run holds the state
)

// exitError is an error that chooses the program's exit code. A nil err ends
// the program quietly with that code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitWith gives err the exit code under which the program ends.
func exitWith(code int, err error) error { return &exitError{code: code, err: err} }

// report prints err for a person and returns the exit code it stands for.
func (p *program) report(err error) int {
	if err == nil {
		return exitDone
	}
	var e *exitError
	if !errors.As(err, &e) {
		fmt.Fprintf(p.stderr, "aiwatch: %v\n", err)
		return exitFailed
	}
	if e.err != nil {
		fmt.Fprintf(p.stderr, "aiwatch: %v\n", e.err)
	}
	return e.code
}
