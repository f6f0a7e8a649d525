package hecserver

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The scanner finds where a JSON value ends and holds it to RFC 8259 and UTF-8
// on the way; nothing is decoded. Every function takes the position where its
// value starts and returns the position behind it, or bad. A fuzz test holds it
// against encoding/json.

// bad is returned for bytes that are not the value looked for.
const bad = -1

// maxDepth is how deep values may be nested, as in encoding/json.
const maxDepth = 10_000

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special marks, by its high bit, the first byte of w that is a quote, a
// backslash, a control character or not ASCII. Marks above the first may be
// wrong, because a subtraction borrows.
func special(w uint64) uint64 {
	quote := w ^ lowBits*'"'
	slash := w ^ lowBits*'\\'
	return ((w - lowBits*0x20) | (quote - lowBits) | (slash - lowBits) | w) & highBits
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return bad
	}
	i++
	for {
		for i+8 <= len(b) {
			m := special(binary.LittleEndian.Uint64(b[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return bad
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = skipEscape(b, i); i == bad {
				return bad
			}
		case c < 0x20:
			return bad
		case c < utf8.RuneSelf:
			i++
		default:
			_, size := utf8.DecodeRune(b[i:])
			if size == 1 {
				return bad
			}
			i += size
		}
	}
}

func skipEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return bad
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(b) {
			return bad
		}
		for _, c := range b[i+2 : i+6] {
			if !isHex(c) {
				return bad
			}
		}
		return i + 6
	}
	return bad
}

func isHex(c byte) bool {
	return isDigit(c) || (c|0x20 >= 'a' && c|0x20 <= 'f')
}

func isDigit(c byte) bool { return c-'0' < 10 }

func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return bad
	}
	return i
}

func skipNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i == bad {
		return bad
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i == bad {
			return bad
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

func skipWord(b []byte, i int, word string) int {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word)
	}
	return bad
}

// skipValue takes any value; depth is how many values it stands in.
func skipValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return bad
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{':
		return eachMember(b, i, depth, nil)
	case '[':
		return skipArray(b, i, depth)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	}
	return skipNumber(b, i)
}

func skipArray(b []byte, i, depth int) int {
	if depth >= maxDepth {
		return bad
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = skipValue(b, i, depth+1); i == bad {
			return bad
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return bad
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case ']':
			return i + 1
		default:
			return bad
		}
	}
}

// eachMember takes an object. Where member is given it is handed every key as it
// stands between its quotes and the position of its value, and returns the
// position behind that value, or bad to end the scan.
func eachMember(b []byte, i, depth int, member func(key []byte, i int) int) int {
	if depth >= maxDepth || i >= len(b) || b[i] != '{' {
		return bad
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		start := i
		if i = skipString(b, i); i == bad {
			return bad
		}
		key := b[start+1 : i-1]
		i = skipSpace(b, i)
		if i >= len(b) || b[i] != ':' {
			return bad
		}
		i = skipSpace(b, i+1)
		if member == nil {
			i = skipValue(b, i, depth+1)
		} else {
			i = member(key, i)
		}
		if i == bad {
			return bad
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return bad
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case '}':
			return i + 1
		default:
			return bad
		}
	}
}
