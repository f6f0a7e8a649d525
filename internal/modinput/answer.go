package modinput

import (
	"encoding/xml"
	"fmt"
	"io"
)

// WriteRefusal writes the answer to --validate-arguments that refuses the
// settings: message is what Splunk shows to the administrator. The program then
// ends with an exit code other than 0. Settings that are good are answered by
// nothing at all and 0.
func WriteRefusal(w io.Writer, message string) error {
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"error"`
		Message string   `xml:"message"`
	}{Message: message})
	if err != nil {
		return fmt.Errorf("answer splunkd: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
