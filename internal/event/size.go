package event

import (
	"fmt"
	"strconv"
)

// Count is a number with its noun, which takes an s where there are several.
func Count[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprint(n) + " " + noun + "s"
}

// Size is so many bytes as people read them, in the units that the app's macro
// aiwatch_bytes gives them in messages.
func Size(n int64) string {
	switch f := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", f/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", f/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", f/1e3)
	}
	return strconv.FormatInt(n, 10) + " B"
}
