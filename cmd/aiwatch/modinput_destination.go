package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"

	"aiwatch/forwarder"
	"aiwatch/internal/modinput"
)

// toSplunkd is the destination splunkd, by the XML stream on standard output.
type toSplunkd struct{ stream *modinput.Stream }

// Send writes a body to the stream. A body is confirmed when a later one is
// written too, or at a clean end.
func (d toSplunkd) Send(ctx context.Context, body forwarder.Body, confirm func(ok bool)) forwarder.Outcome {
	envelopes, err := unzip(body)
	if err == nil {
		err = d.stream.Send(ctx, envelopes, confirm)
	}
	switch {
	case err == nil:
		return forwarder.Outcome{Verdict: forwarder.Accepted, Code: -1}
	case errors.Is(err, modinput.ErrBroken), ctx.Err() != nil:
		return forwarder.Outcome{Verdict: forwarder.Retry, After: time.Second, Code: -1, Text: err.Error(), Reason: err.Error()}
	}
	return forwarder.Outcome{Verdict: forwarder.Refused, Code: -1, Text: err.Error(), Reason: err.Error()}
}

func unzip(body forwarder.Body) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body.Data))
	if err != nil {
		return nil, fmt.Errorf("unpack a batch: %w", err)
	}
	raw := bytes.NewBuffer(make([]byte, 0, body.Raw+bytes.MinRead))
	if _, err := io.Copy(raw, r); err != nil {
		return nil, fmt.Errorf("unpack a batch: %w", err)
	}
	return raw.Bytes(), nil
}

// Run ends with an error when the stream can take no more.
func (d toSplunkd) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.stream.Broken():
		return modinput.ErrBroken
	}
}

// Check finds nothing: splunkd is there, since it started us.
func (toSplunkd) Check(context.Context) []forwarder.Finding { return nil }
