package hecserver

import (
	"sync"
	"time"
)

// Limits that Splunk documents for acknowledgements.
const (
	maxChannels          = 1_000_000
	maxPending           = 10_000_000
	maxPendingPerChannel = 1_000_000
)

// channelKey names a channel: its GUID under one token. An id asked on another
// channel is false for ever.
type channelKey struct {
	token *token
	guid  string
}

// channels keeps what is to be acknowledged.
type channels struct {
	mu      sync.Mutex
	open    map[channelKey]*channel
	pending int
	limit   struct{ channels, pending, perChannel int }
}

// channel counts its acknowledgements from 0.
type channel struct {
	next    uint64
	pending map[uint64]ackState
}

// ackState is an acknowledgement that was not yet read as true.
type ackState struct {
	lost bool      // never becomes true
	asks int       // how often it is still answered false
	from time.Time // false before this moment
}

func newChannels() *channels {
	c := &channels{open: make(map[channelKey]*channel)}
	c.limit.channels, c.limit.pending, c.limit.perChannel = maxChannels, maxPending, maxPendingPerChannel
	return c
}

// full says whether the channel can take no further acknowledgement.
func (c *channels) full(key channelKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.open[key]
	if ch == nil {
		return len(c.open) >= c.limit.channels || c.pending >= c.limit.pending
	}
	return len(ch.pending) >= c.limit.perChannel || c.pending >= c.limit.pending
}

// add gives the next id of the channel, which is opened by that.
func (c *channels) add(key channelKey, state ackState) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.open[key]
	if ch == nil {
		ch = &channel{pending: make(map[uint64]ackState)}
		c.open[key] = ch
	}
	id := ch.next
	ch.next++
	ch.pending[id] = state
	c.pending++
	return id
}

// ask tells which ids are acknowledged. One that was read as true is forgotten.
func (c *channels) ask(key channelKey, ids []uint64, now time.Time) map[uint64]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[uint64]bool, len(ids))
	ch := c.open[key]
	for _, id := range ids {
		if out[id] { // asked twice in one question
			continue
		}
		out[id] = false
		if ch == nil {
			continue
		}
		state, waiting := ch.pending[id]
		switch {
		case !waiting || state.lost || now.Before(state.from):
		case state.asks > 0:
			state.asks--
			ch.pending[id] = state
		default:
			delete(ch.pending, id)
			c.pending--
			out[id] = true
		}
	}
	return out
}

// forget drops every channel, as a restart of the indexer does.
func (c *channels) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.open)
	c.pending = 0
}
