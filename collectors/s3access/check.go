package s3access

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"aiwatch/collectors"
)

// checkFormat tells whether the beginning of a log can be read.
func (c *Collector) checkFormat(log io.Reader, name string) collectors.Finding {
	format, good, bad, err := c.sample(log)
	switch {
	case err != nil:
		return collectors.Finding{Verdict: collectors.Warning, Text: fmt.Sprintf("%s can't be read: %v", name, err), Fix: "see whether the log is whole"}
	case good == 0 && bad > 0:
		return collectors.Finding{Verdict: collectors.Misset, Text: fmt.Sprintf("format of %s not recognised: none of its first %d records can be read as %s", name, bad, format), Fix: "set format, or point the input at S3 access logs (server_access, cloudtrail, versitygw)"}
	case bad > 0:
		return collectors.Finding{Verdict: collectors.Warning, Text: fmt.Sprintf("%s is %s, and %d of its first %d records can't be read", name, format, bad, good+bad), Fix: "look at the events with operation record.damaged"}
	}
	return collectors.Finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s is %s", name, format)}
}

// sample reads the first records of a log.
func (c *Collector) sample(log io.Reader) (format Format, good, bad int, err error) {
	const records = 100
	buffered := bufio.NewReaderSize(log, 64<<10)
	text := io.Reader(buffered)
	if head, _ := buffered.Peek(2); isGzip(head) {
		if text, err = gzip.NewReader(buffered); err != nil {
			return "", 0, 0, err
		}
	}
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(text, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", 0, 0, err
	}
	whole := n < len(head)
	head = head[:n]
	format = c.cfg.Format
	if format == Auto {
		format = formatOf(head)
	}
	var p lineParser
	var r record
	count := func(err error) {
		if err == nil || err == errOtherService {
			good++
		} else {
			bad++
		}
	}
	if format == Cloudtrail {
		objects := newObjectReader(bytes.NewReader(head))
		for good+bad < records {
			object, err := objects.next()
			if err != nil {
				break // the end of what was read
			}
			count(p.parseCloudtrail(object, &r))
		}
		return format, good, bad, nil
	}
	for good+bad < records && len(head) > 0 {
		line, rest, ended := bytes.Cut(head, []byte("\n"))
		head = rest
		if text := string(bytes.TrimSuffix(line, []byte("\r"))); text == "" || !ended && !whole {
			continue
		} else if format == Versitygw {
			if !isVersitygwStart(text) {
				count(p.parseVersitygw(text, &r))
			}
		} else {
			count(p.parse(text, &r))
		}
	}
	return format, good, bad, nil
}
