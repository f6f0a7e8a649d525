package s3access

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
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

// checkAttempts is how often a request of a check is made: a person waits for the
// answer, and one broken connection is no answer.
const checkAttempts = 2

func briefly(o *s3.Options) { o.RetryMaxAttempts = checkAttempts }

// check lists the log bucket and reads the beginning of one object.
func (b *bucketReader) check(ctx context.Context) []collectors.Finding {
	name := "s3://" + b.bucket + "/" + b.c.cfg.Prefix
	few := int32(100)
	list, err := b.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &b.c.cfg.Prefix, MaxKeys: &few, EncodingType: types.EncodingTypeUrl}, briefly)
	if err != nil {
		return []collectors.Finding{b.diagnose(err, "list "+name, "s3:ListBucket on arn:aws:s3:::"+b.bucket)}
	}
	findings := []collectors.Finding{{Verdict: collectors.Good, Text: name + " can be listed"}}
	return append(findings, b.checkObject(ctx, list)...)
}

// checkObject reads the beginning of the last object of a listing.
func (b *bucketReader) checkObject(ctx context.Context, list *s3.ListObjectsV2Output) []collectors.Finding {
	for _, in := range slices.Backward(list.Contents) {
		o, ok := asObject(&in, encoded(list))
		if !ok {
			continue
		}
		part := "bytes=0-65535"
		got, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: &o.key, Range: &part}, briefly)
		if err != nil {
			return []collectors.Finding{b.diagnose(err, "get "+b.ref(o), "s3:GetObject on arn:aws:s3:::"+b.bucket+"/"+b.c.cfg.Prefix+"* (and kms:Decrypt where the bucket is encrypted with a key)")}
		}
		defer func() { _ = got.Body.Close() }()
		return []collectors.Finding{b.c.checkFormat(got.Body, b.ref(o))}
	}
	return []collectors.Finding{{Verdict: collectors.Warning, Text: "no log object under s3://" + b.bucket + "/" + b.c.cfg.Prefix + " yet", Fix: "nothing, if logging was switched on in the last hours; otherwise correct prefix"}}
}

// check asks the queue for its attributes, and tries the log bucket: listing it
// is not needed, so that it being refused is no fault.
func (q *queue) check(ctx context.Context) []collectors.Finding {
	_, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &q.c.cfg.QueueURL, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameRedrivePolicy},
	}, func(o *sqs.Options) { o.RetryMaxAttempts = checkAttempts })
	if err != nil {
		return []collectors.Finding{q.diagnose(err, "reach "+q.c.cfg.QueueURL, "sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queue")}
	}
	findings := []collectors.Finding{{Verdict: collectors.Good, Text: "queue " + q.c.cfg.QueueURL + " answers"}}
	few := int32(100)
	list, err := q.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &q.bucket, Prefix: &q.c.cfg.Prefix, MaxKeys: &few, EncodingType: types.EncodingTypeUrl}, briefly)
	switch {
	case err == nil:
		return append(findings, q.checkObject(ctx, list)...)
	case status(err) == http.StatusForbidden && code(err) == "AccessDenied":
		return append(findings, collectors.Finding{Verdict: collectors.Warning, Text: "s3://" + q.bucket + " can't be listed, so that reading from it was not tried", Fix: "nothing, if s3:GetObject is granted; s3:ListBucket lets check try it"})
	}
	return append(findings, q.diagnose(err, "reach s3://"+q.bucket, "s3:GetObject"))
}

// diagnose says what an error of AWS means and what to do.
func (b *bucketReader) diagnose(err error, doing, permission string) collectors.Finding {
	bad := func(verdict collectors.Verdict, text, fix string) collectors.Finding {
		return collectors.Finding{Verdict: verdict, Text: doing + ": " + text, Fix: fix}
	}
	endpoint := b.c.cfg.AWS.Endpoint
	if endpoint == "" {
		endpoint = "AWS"
	}
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var badCert *tls.CertificateVerificationError
	var noHost *net.DNSError
	var refused *net.OpError
	var noRegion *aws.MissingRegionError
	switch {
	case errors.As(err, &unknownCA):
		return bad(collectors.Misset, "the certificate of "+endpoint+" is signed by an unknown authority", "set ca_file to the certificate of the authority that signed it")
	case errors.As(err, &wrongName):
		return bad(collectors.Misset, "the certificate of "+endpoint+" is for another name: "+wrongName.Error(), "set endpoint to a name that the certificate holds")
	case errors.As(err, &badCert):
		return bad(collectors.Misset, "the certificate of "+endpoint+" is not good: "+badCert.Error(), "renew the certificate, or set the clock of this machine")
	case errors.As(err, &noRegion), strings.Contains(err.Error(), "Missing Region"), strings.Contains(err.Error(), "Invalid Configuration: Missing Region"):
		return bad(collectors.Misset, "no region is known", "set region")
	}
	if role := b.c.cfg.AWS.RoleARN; role != "" && ofSTS(err) && status(err) == http.StatusForbidden && strings.HasPrefix(code(err), "AccessDenied") {
		return bad(collectors.Misset, "the role "+role+" can't be assumed: access denied", "correct role_arn and external_id, and have the role's trust policy let us call sts:AssumeRole")
	}
	switch code(err) {
	case "RequestTimeTooSkewed", "RequestExpired":
		return bad(collectors.Unavailable, "the clock of this machine differs from that of "+endpoint, "set the clock, by NTP")
	case "NoSuchBucket":
		return bad(collectors.Misset, "there is no bucket "+b.bucket, "correct bucket")
	case "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue":
		return bad(collectors.Misset, "there is no such queue", "correct queue_url")
	case "InvalidAccessKeyId", "UnrecognizedClientException", "InvalidClientTokenId":
		return bad(collectors.Misset, "the access key is not known", "correct access_key_id, or the profile")
	case "SignatureDoesNotMatch":
		return bad(collectors.Misset, "the secret key does not fit the access key", "correct secret_access_key")
	case "ExpiredToken", "ExpiredTokenException":
		return bad(collectors.Unavailable, "the credentials have expired", "renew them")
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "MovedPermanently":
		return b.wrongRegion(err, bad)
	case "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden":
		return bad(collectors.Unavailable, "access denied", "grant "+permission)
	}
	switch s := status(err); {
	case s == http.StatusMovedPermanently, s == http.StatusTemporaryRedirect:
		return b.wrongRegion(err, bad)
	case s == http.StatusForbidden:
		return bad(collectors.Unavailable, "access denied", "grant "+permission)
	case s == http.StatusNotFound:
		return bad(collectors.Misset, "not found", "correct bucket and endpoint")
	case s >= 500:
		return bad(collectors.Unavailable, fmt.Sprintf("%s answers with status %d", endpoint, s), "try again later")
	case s != 0:
		return bad(collectors.Unavailable, err.Error(), "see what the answer says")
	}
	switch {
	case errors.As(err, &noHost):
		return bad(collectors.Unavailable, "no address is known for "+noHost.Name, "correct endpoint or region, or the name server of this machine")
	case errors.As(err, &refused), errors.Is(err, context.DeadlineExceeded):
		return bad(collectors.Unavailable, endpoint+" can't be reached: "+rootOf(err).Error(), "correct endpoint or proxy, or open the way to it")
	case strings.Contains(err.Error(), "credentials"):
		return bad(collectors.Misset, "no credentials were found", "set access_key_id and secret_access_key, profile or role_arn, or run with an instance role")
	}
	return bad(collectors.Unavailable, rootOf(err).Error(), "correct endpoint, region and credentials")
}

func (b *bucketReader) wrongRegion(err error, bad func(collectors.Verdict, string, string) collectors.Finding) collectors.Finding {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		if region := answer.Response.Header.Get("X-Amz-Bucket-Region"); region != "" {
			return bad(collectors.Misset, "the bucket is in another region: "+region, "set region = "+region)
		}
	}
	return bad(collectors.Misset, "the bucket is in another region", "set region to the bucket's")
}

// rootOf returns the innermost error, which is the one in words.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
