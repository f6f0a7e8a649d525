package spl

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeModifier is a parsed time: a fixed one, or steps from now.
type timeModifier struct {
	fixed    bool
	epoch    float64
	layout   bool // month/day/year:hour:minute:second, in the search's zone
	datetime time.Time
	steps    []timeStep
}

// timeStep moves by n units, or snaps back to the beginning of a unit.
type timeStep struct {
	snap    bool
	n       int
	unit    byte // s m h d w M (month) q y
	weekday int  // of a snap to a week
}

var timeUnits = map[string]byte{
	"s": 's', "sec": 's', "secs": 's', "second": 's', "seconds": 's',
	"m": 'm', "min": 'm', "mins": 'm', "minute": 'm', "minutes": 'm',
	"h": 'h', "hr": 'h', "hrs": 'h', "hour": 'h', "hours": 'h',
	"d": 'd', "day": 'd', "days": 'd',
	"w": 'w', "week": 'w', "weeks": 'w',
	"mon": 'M', "month": 'M', "months": 'M',
	"q": 'q', "qtr": 'q', "qtrs": 'q', "quarter": 'q', "quarters": 'q',
	"y": 'y', "yr": 'y', "yrs": 'y', "year": 'y', "years": 'y',
}

// parseTimeModifier reads what earliest, latest and relative_time take: now,
// epoch seconds, month/day/year:h:m:s, RFC 3339, or steps such as -7d@d+2h
// (Search Reference, "Time modifiers").
func parseTimeModifier(s string) (timeModifier, error) {
	s = strings.TrimSpace(s)
	switch low := strings.ToLower(s); {
	case low == "":
		return timeModifier{}, errors.New("the time is empty")
	case low == "now" || low == "now()":
		return timeModifier{}, nil
	case low == "rt" || strings.HasPrefix(low, "rt-") || strings.HasPrefix(low, "rt+") || strings.HasPrefix(low, "rt@"):
		return timeModifier{}, fmt.Errorf("%q is real time, which is not known here", s)
	}
	if s[0]-'0' <= 9 {
		if f, ok := parseNumber(s); ok {
			return timeModifier{fixed: true, epoch: f}, nil
		}
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return timeModifier{fixed: true, epoch: epochOf(t)}, nil
		}
		if t, err := time.Parse("1/2/2006:15:4:5", s); err == nil {
			return timeModifier{layout: true, datetime: t}, nil
		}
		return timeModifier{}, fmt.Errorf("%q is no time: neither epoch seconds, month/day/year:h:m:s, RFC 3339 nor a modifier like -7d@d", s)
	}
	var m timeModifier
	rest := s
	for rest != "" {
		if rest[0] == '@' {
			unit := leadingLetters(rest[1:])
			step := timeStep{snap: true}
			tail := rest[1+len(unit):]
			u, ok := timeUnits[strings.ToLower(unit)]
			if !ok {
				return m, fmt.Errorf("%q: @ is followed by a unit (s m h d w mon q y), not %q", s, unit)
			}
			step.unit = u
			if u == 'w' && tail != "" && tail[0]-'0' <= 9 {
				if step.weekday = int(tail[0] - '0'); step.weekday > 7 || strings.ToLower(unit) != "w" {
					return m, fmt.Errorf("%q: the days of a week are @w0 (Sunday) to @w7 (Sunday)", s)
				}
				step.weekday %= 7
				tail = tail[1:]
			}
			m.steps = append(m.steps, step)
			rest = tail
			continue
		}
		if rest[0] != '-' && rest[0] != '+' {
			return m, fmt.Errorf("%q is no time: a modifier is now, epoch seconds or steps like -7d@d", s)
		}
		i := 1
		for i < len(rest) && rest[i]-'0' <= 9 {
			i++
		}
		n := 1
		if i > 1 {
			v, err := strconv.Atoi(rest[1:i])
			if err != nil || v > 1_000_000_000 {
				return m, fmt.Errorf("%q: %s is too large", s, rest[1:i])
			}
			n = v
		}
		unit := leadingLetters(rest[i:])
		u, ok := timeUnits[strings.ToLower(unit)]
		if !ok {
			return m, fmt.Errorf("%q: %q is no unit of time; known are s m h d w mon q y", s, unit)
		}
		if rest[0] == '-' {
			n = -n
		}
		m.steps = append(m.steps, timeStep{n: n, unit: u})
		rest = rest[i+len(unit):]
		if len(m.steps) > 20 {
			return m, fmt.Errorf("%q has more than 20 steps", s)
		}
	}
	return m, nil
}

func leadingLetters(s string) string {
	i := 0
	for i < len(s) && s[i]|0x20-'a' <= 25 {
		i++
	}
	return s[:i]
}

// resolve gives the epoch seconds that m means at from, in zone loc.
func (m timeModifier) resolve(from float64, loc *time.Location) float64 {
	switch {
	case m.fixed:
		return m.epoch
	case m.layout:
		d := m.datetime
		return epochOf(time.Date(d.Year(), d.Month(), d.Day(), d.Hour(), d.Minute(), d.Second(), 0, loc))
	}
	for _, s := range m.steps {
		if s.snap {
			from = snapTime(from, s.unit, s.weekday, loc)
		} else {
			from = addTime(from, s.n, s.unit, loc)
		}
	}
	return from
}

func epochOf(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

// timeOf is the moment of epoch seconds, to the microsecond, which is what a
// double holds of today's times.
func timeOf(epoch float64, loc *time.Location) time.Time {
	sec := math.Floor(epoch)
	return time.Unix(int64(sec), int64(math.Round((epoch-sec)*1e6))*1000).In(loc)
}

// snapTime is the beginning of the unit in which t lies, in zone loc.
func snapTime(epoch float64, unit byte, weekday int, loc *time.Location) float64 {
	t := timeOf(epoch, loc)
	y, mo, d := t.Date()
	switch unit {
	case 's':
		return math.Floor(epoch)
	case 'm', 'h':
		// Within the hour, so that the second 02:30 of a night when clocks go
		// back stays in its own hour.
		back := float64(t.Second()) + float64(t.Nanosecond())/1e9
		if unit == 'h' {
			back += float64(t.Minute()) * 60
		}
		return math.Round((epoch-back)*1e6) / 1e6
	case 'd':
		return startOfDay(y, mo, d, loc)
	case 'w':
		return startOfDay(y, mo, d-(int(t.Weekday())-weekday+7)%7, loc)
	case 'M':
		return startOfDay(y, mo, 1, loc)
	case 'q':
		return startOfDay(y, (mo-1)/3*3+1, 1, loc)
	default:
		return startOfDay(y, 1, 1, loc)
	}
}

// startOfDay is midnight, or the first moment of a day whose midnight the
// clocks leap over.
func startOfDay(y int, mo time.Month, d int, loc *time.Location) float64 {
	t := time.Date(y, mo, d, 0, 0, 0, 0, loc)
	if noon := time.Date(y, mo, d, 12, 0, 0, 0, loc); t.Day() != noon.Day() {
		t = t.Add(time.Hour)
	}
	return epochOf(t)
}

// addTime moves by n units. Days and longer keep the time of day over
// daylight-saving changes; a month that is too short gives its last day.
func addTime(epoch float64, n int, unit byte, loc *time.Location) float64 {
	switch unit {
	case 's':
		return epoch + float64(n)
	case 'm':
		return epoch + float64(n)*60
	case 'h':
		return epoch + float64(n)*3600
	}
	t := timeOf(epoch, loc)
	y, mo, d := t.Date()
	switch unit {
	case 'd':
		d += n
	case 'w':
		d += 7 * n
	default:
		months := map[byte]int{'M': 1, 'q': 3, 'y': 12}[unit] * n
		first := time.Date(y, mo, 1, 0, 0, 0, 0, time.UTC).AddDate(0, months, 0)
		y, mo = first.Year(), first.Month()
		d = min(d, first.AddDate(0, 1, -1).Day())
	}
	return epochOf(time.Date(y, mo, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc))
}

// strftime writes epoch seconds by a format (Search Reference, "Date and time
// format variables"). It refuses a variable that it does not know.
func strftime(epoch float64, format string, loc *time.Location) (string, error) {
	if math.Abs(epoch) > 253402300799 { // year 9999
		return "", nil
	}
	t := timeOf(epoch, loc)
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		directive, width := readDirective(format[i+1:])
		switch directive {
		case "":
			return "", fmt.Errorf("%q is no time variable that is known here", format[i:min(len(format), i+3)])
		case "N":
			micro := fmt.Sprintf("%06d000", t.Nanosecond()/1000)
			b.WriteString(micro[:width])
		default:
			if layout, ok := strftimeLayouts[directive]; ok {
				b.WriteString(t.Format(layout))
			} else {
				b.WriteString(strftimeOther(t, directive))
			}
		}
		i += directiveLength(format[i+1:])
	}
	return b.String(), nil
}

// strftimeLayouts are the variables for which Go's layouts have a word. %x and
// %X are the server's locale, which is not ours to know; %V is week 33 on the
// page "Date and Time functions" where the ISO calendar has 32: not known either.
var strftimeLayouts = map[string]string{
	"a": "Mon", "A": "Monday", "b": "Jan", "B": "January", "h": "Jan", "c": "Mon Jan _2 15:04:05 2006",
	"d": "02", "D": "01/02/06", "e": "_2", "F": "2006-01-02", "H": "15", "I": "03", "j": "002", "m": "01", "M": "04",
	"p": "PM", "S": "05", "T": "15:04:05", "y": "06", "Y": "2006",
	"z": "-0700", ":z": "-07:00", "Z": "MST",
	"+": "Mon Jan _2 15:04:05 MST 2006",
}

func strftimeOther(t time.Time, directive string) string {
	switch directive {
	case "s":
		return strconv.FormatInt(t.Unix(), 10)
	case "k":
		return fmt.Sprintf("%2d", t.Hour())
	case "l":
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case "w":
		return strconv.Itoa(int(t.Weekday()))
	case "u":
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1)
	case "G":
		year, _ := t.ISOWeek()
		return strconv.Itoa(year)
	case "U":
		return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7)
	}
	return "%"
}

// readDirective reads what follows a %: a variable's letter, and the digits of
// a subsecond (N and Q alike; bare %N has 9 digits, bare %Q 3).
func readDirective(s string) (directive string, width int) {
	if s == "" {
		return "", 0
	}
	if len(s) >= 2 && (s[1] == 'N' || s[1] == 'Q') && strings.IndexByte("369", s[0]) >= 0 {
		return "N", int(s[0] - '0')
	}
	switch {
	case s[0] == 'N':
		return "N", 9
	case s[0] == 'Q':
		return "N", 3
	case s[0] == 'f':
		return "N", 6
	case strings.HasPrefix(s, ":z"):
		return ":z", 0
	}
	if _, ok := strftimeLayouts[s[:1]]; ok || strings.IndexByte("sklwuGU%", s[0]) >= 0 {
		return s[:1], 0
	}
	return "", 0
}

func directiveLength(s string) int {
	if len(s) >= 2 && (s[:2] == ":z" || (s[1] == 'N' || s[1] == 'Q') && strings.IndexByte("369", s[0]) >= 0) {
		return 2
	}
	return 1
}

// checkTimeFormat tells whether strftime or strptime know the format.
func checkTimeFormat(format string, parsing bool) error {
	if parsing {
		_, _, err := strptime("", format, time.UTC)
		return err
	}
	_, err := strftime(0, format, time.UTC)
	return err
}

// strptime reads a time by a format. ok is false where the text does not fit;
// an error is a format that is not known. A format without a whole date is an
// error: what Splunk fills in is not documented.
func strptime(s, format string, loc *time.Location) (epoch float64, ok bool, err error) {
	var (
		year, month, day, yearDay         = 0, 0, 0, 0
		hour, minute, second, nano        = 0, 0, 0, 0
		pm, hasPM, hasYear, hasEpoch      = false, false, false, false
		zone                              = loc
		hasMonth, hasDay, hasYearDay, h12 bool
	)
	fits := true
	num := func(most int) int {
		n, i := 0, 0
		for i < len(s) && i < most && s[i]-'0' <= 9 {
			n = n*10 + int(s[i]-'0')
			i++
		}
		if i == 0 {
			fits = false
		}
		s = s[i:]
		return n
	}
	name := func(names func(int) string, from, to, short int) int {
		for i := from; i <= to; i++ {
			full := names(i)
			for _, candidate := range []string{full, full[:short]} {
				if len(s) >= len(candidate) && strings.EqualFold(s[:len(candidate)], candidate) {
					s = s[len(candidate):]
					return i
				}
			}
		}
		fits = false
		return 0
	}
	monthName := func(i int) string { return time.Month(i).String() }
	dayName := func(i int) string { return time.Weekday(i).String() }
	expanded := strings.NewReplacer("%%", "%%", "%T", "%H:%M:%S", "%F", "%Y-%m-%d", "%D", "%m/%d/%y", "%R", "%H:%M",
		"%c", "%a %b %e %H:%M:%S %Y", "%+", "%a %b %e %H:%M:%S %Z %Y").Replace(format)
	for i := 0; i < len(expanded); i++ {
		c := expanded[i]
		if c != '%' {
			if isSpace(c) {
				s = strings.TrimLeft(s, " \t\r\n")
			} else if s != "" && s[0] == c {
				s = s[1:]
			} else {
				fits = false
			}
			continue
		}
		directive, _ := readDirective(expanded[i+1:])
		i += directiveLength(expanded[i+1:])
		switch directive {
		case "Y":
			year, hasYear = num(4), true
		case "y":
			if year = num(2); year < 69 {
				year += 2000
			} else {
				year += 1900
			}
			hasYear = true
		case "m":
			month, hasMonth = num(2), true
		case "d", "e":
			s = strings.TrimLeft(s, " ")
			day, hasDay = num(2), true
		case "j":
			yearDay, hasYearDay = num(3), true
		case "b", "B", "h":
			month, hasMonth = name(monthName, 1, 12, 3), true
		case "a", "A":
			name(dayName, 0, 6, 3)
		case "H", "k":
			s = strings.TrimLeft(s, " ")
			hour = num(2)
		case "I", "l":
			s = strings.TrimLeft(s, " ")
			hour, h12 = num(2), true
		case "M":
			minute = num(2)
		case "S":
			second = num(2)
		case "p":
			hasPM = true
			if len(s) >= 2 && strings.EqualFold(s[:2], "PM") {
				pm = true
			} else if len(s) < 2 || !strings.EqualFold(s[:2], "AM") {
				fits = false
				break
			}
			s = s[2:]
		case "N":
			j := 0
			for j < len(s) && j < 9 && s[j]-'0' <= 9 {
				j++
			}
			if j == 0 {
				fits = false
				break
			}
			nano, _ = strconv.Atoi((s[:j] + "00000000")[:9])
			s = s[j:]
		case "s":
			neg := strings.HasPrefix(s, "-")
			s = strings.TrimPrefix(s, "-")
			epoch, hasEpoch = float64(num(12)), true
			if neg {
				epoch = -epoch
			}
		case "z", ":z":
			zone = readZone(&s, &fits)
		case "Z":
			word := leadingLetters(s)
			switch strings.ToUpper(word) {
			case "UTC", "GMT", "Z":
				zone = time.UTC
			default:
				fits = false // an abbreviation names no one zone
			}
			s = s[len(word):]
		case "%":
			if strings.HasPrefix(s, "%") {
				s = s[1:]
			} else {
				fits = false
			}
		default:
			return 0, false, fmt.Errorf("the time format %q holds a variable that is not known here", format)
		}
	}
	whole := hasYear && (hasMonth && hasDay || hasYearDay)
	if !hasEpoch && !whole {
		return 0, false, fmt.Errorf("the time format %q names no whole date (year, month, day): what is filled in is not documented", format)
	}
	if h12 != hasPM && !hasEpoch {
		return 0, false, fmt.Errorf("the time format %q needs %%I together with %%p", format)
	}
	if !fits {
		return 0, false, nil
	}
	if hasEpoch {
		return epoch + float64(nano)/1e9, true, nil
	}
	if h12 {
		if hour < 1 || hour > 12 {
			return 0, false, nil
		}
		if hour %= 12; pm {
			hour += 12
		}
	}
	if hasYearDay {
		if yearDay < 1 || yearDay > 366 {
			return 0, false, nil
		}
		month, day = 1, yearDay
	} else if month < 1 || month > 12 || day < 1 || day > time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return 0, false, nil
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, false, nil
	}
	return epochOf(time.Date(year, time.Month(month), day, hour, minute, second, nano, zone)), true, nil
}

// readZone reads Z, +hh, +hhmm or +hh:mm.
func readZone(s *string, fits *bool) *time.Location {
	if strings.HasPrefix(*s, "Z") {
		*s = (*s)[1:]
		return time.UTC
	}
	t := *s
	if len(t) < 3 || t[0] != '+' && t[0] != '-' || t[1]-'0' > 9 || t[2]-'0' > 9 {
		*fits = false
		return time.UTC
	}
	offset := (int(t[1]-'0')*10 + int(t[2]-'0')) * 3600
	rest := t[3:]
	minutes := strings.TrimPrefix(rest, ":")
	if len(minutes) >= 2 && minutes[0]-'0' <= 5 && minutes[1]-'0' <= 9 {
		offset += (int(minutes[0]-'0')*10 + int(minutes[1]-'0')) * 60
		rest = minutes[2:]
	}
	if t[0] == '-' {
		offset = -offset
	}
	*s = rest
	return time.FixedZone("", offset)
}

func utcDate(y, mo, d int) int64 {
	return time.Date(y, time.Month(mo), d, 0, 0, 0, 0, time.UTC).Unix()
}

func startOfMonth(year, month int, x *evalEnv) float64 {
	return startOfDay(year, time.Month(month), 1, x.loc)
}
