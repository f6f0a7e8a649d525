package modinput

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"aiwatch/internal/conf"
)

// maxRequest bounds what splunkd hands over, in bytes.
const maxRequest = 16 << 20

// A Request is what splunkd hands over on stdin: one input to run or to check.
type Request struct {
	// ServerHost is the name of Splunk's host, ServerURI where its splunkd
	// listens.
	ServerHost, ServerURI string
	// SessionKey opens splunkd's REST for as long as the session lives.
	SessionKey conf.Secret
	// CheckpointDir is where the input may keep state. It is shared by all
	// inputs of the scheme.
	CheckpointDir string
	// Name is the input's stanza, with the scheme in front or without.
	Name string
	// App is the app to which the stanza belongs; not told when it is checked.
	App string
	// Params are the stanza's settings; a list has several values.
	Params map[string][]string
}

type requestXML struct {
	ServerHost    string      `xml:"server_host"`
	ServerURI     string      `xml:"server_uri"`
	SessionKey    string      `xml:"session_key"`
	CheckpointDir string      `xml:"checkpoint_dir"`
	Stanzas       []stanzaXML `xml:"configuration>stanza"` // to run
	Items         []stanzaXML `xml:"item"`                 // to check
}

type stanzaXML struct {
	Name   string `xml:"name,attr"`
	App    string `xml:"app,attr"`
	Params []struct {
		Name string `xml:"name,attr"`
		Text string `xml:",chardata"`
	} `xml:"param"`
	Lists []struct {
		Name   string   `xml:"name,attr"`
		Values []string `xml:"value"`
	} `xml:"param_list"`
}

// ReadInput reads the <input> that splunkd writes to run an input. It returns
// once the closing tag has been read, whether or not the writer goes on.
func ReadInput(r io.Reader) (*Request, error) { return readRequest(r, "input") }

// ReadItems reads the <items> that splunkd writes to have settings checked.
func ReadItems(r io.Reader) (*Request, error) { return readRequest(r, "items") }

var errTooLarge = fmt.Errorf("it is larger than %d MiB", maxRequest>>20)

func readRequest(r io.Reader, root string) (*Request, error) {
	limited := &limitedReader{r: r, left: maxRequest}
	decoder := xml.NewDecoder(limited)
	var read requestXML
	err := decodeRoot(decoder, root, &read)
	switch {
	case limited.left <= 0:
		err = errTooLarge
	case endsEarly(err):
		err = fmt.Errorf("it ends before </%s>", root)
	}
	if err != nil {
		return nil, fmt.Errorf("read the <%s> that splunkd hands over on stdin: %w", root, err)
	}
	stanzas := append(read.Stanzas, read.Items...)
	if len(stanzas) != 1 {
		return nil, fmt.Errorf("read the <%s> that splunkd hands over on stdin: it names %d inputs, and one is wanted", root, len(stanzas))
	}
	request := &Request{
		ServerHost: read.ServerHost, ServerURI: read.ServerURI, SessionKey: conf.NewSecret(read.SessionKey),
		CheckpointDir: read.CheckpointDir, Name: stanzas[0].Name, App: stanzas[0].App, Params: map[string][]string{},
	}
	for _, p := range stanzas[0].Params {
		request.Params[p.Name] = append(request.Params[p.Name], p.Text)
	}
	for _, list := range stanzas[0].Lists {
		request.Params[list.Name] = append(request.Params[list.Name], list.Values...)
	}
	return request, nil
}

func endsEarly(err error) bool {
	var syntax *xml.SyntaxError
	return errors.Is(err, io.EOF) || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF"
}

// decodeRoot decodes the document's element, which must have that name, and
// reads no further than its end.
func decodeRoot(decoder *xml.Decoder, name string, into any) error {
	for {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != name {
			return fmt.Errorf("it begins with <%s>", start.Name.Local)
		}
		return decoder.DecodeElement(into, &start)
	}
}

// A limitedReader ends after left bytes. Unlike io.LimitReader's its end can be
// told from the writer's: left is then 0.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
