package modinput

import "errors"

// Reasons why an input ends without being asked to.
var (
	ErrParentGone = errors.New("splunkd is gone")
	ErrPipeClosed = errors.New("splunkd has closed the pipe of the events")
)
