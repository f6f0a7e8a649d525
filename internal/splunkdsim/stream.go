package splunkdsim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// An Event is an event as it was read from an input's stream.
type Event struct {
	Time, Host, Source, Sourcetype, Index, Data string
}

var epoch = regexp.MustCompile(`^-?[0-9]+(\.[0-9]{1,3})?$`)

// readStream reads an XML stream strictly: visit gets each event once its
// closing tag has been read, and where in the stream that ends. Whole tells whether the document ended; a stream
// that breaks off in between is what the death of an input leaves.
func readStream(r io.Reader, visit func(e Event, end int64)) (whole bool, err error) {
	decoder := xml.NewDecoder(r)
	inside := false
	for {
		token, err := decoder.Token()
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.Is(err, io.EOF) || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" {
				return false, nil
			}
			return false, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch {
			case !inside && t.Name.Local == "stream":
				inside = true
			case inside && t.Name.Local == "event":
				event, err := readEvent(decoder, t)
				var syntax *xml.SyntaxError
				if errors.Is(err, io.EOF) || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" {
					return false, nil
				}
				if err != nil {
					return false, err
				}
				visit(event, decoder.InputOffset())
			default:
				return false, fmt.Errorf("a <%s> is out of place", t.Name.Local)
			}
		case xml.EndElement:
			// The decoder refuses whatever is not white space behind the root.
			return true, nil
		case xml.CharData:
			for _, c := range t {
				if c != '\n' && c != ' ' {
					return false, fmt.Errorf("the text %q is out of place", t)
				}
			}
		default:
			return false, fmt.Errorf("a %T is out of place", token)
		}
	}
}

func readEvent(decoder *xml.Decoder, start xml.StartElement) (Event, error) {
	if len(start.Attr) != 1 || start.Attr[0].Name.Local != "unbroken" || start.Attr[0].Value != "1" {
		return Event{}, fmt.Errorf("an event has the attributes %v, want unbroken=1", start.Attr)
	}
	var e Event
	fields := map[string]*string{
		"time": &e.Time, "host": &e.Host, "source": &e.Source, "sourcetype": &e.Sourcetype, "index": &e.Index, "data": &e.Data,
	}
	done := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return e, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			var text string
			if err := decoder.DecodeElement(&text, &t); err != nil {
				return e, err
			}
			field := fields[t.Name.Local]
			switch {
			case done:
				return e, fmt.Errorf("a <%s> comes after <done/>", t.Name.Local)
			case t.Name.Local == "done":
				done = true
			case field == nil || *field != "":
				return e, fmt.Errorf("an event has a <%s> too many", t.Name.Local)
			case text == "":
				return e, fmt.Errorf("an event has an empty <%s>", t.Name.Local)
			default:
				*field = text
			}
		case xml.EndElement:
			if !done || e.Data == "" || !epoch.MatchString(e.Time) || e.Sourcetype == "" || e.Source == "" {
				return e, fmt.Errorf("an event lacks what it needs: %+v, done %t", e, done)
			}
			return e, nil
		case xml.CharData:
			return e, fmt.Errorf("the text %q is out of place in an event", t)
		}
	}
}
