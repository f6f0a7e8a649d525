package s3access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// AWS says how S3 and SQS are reached, in the words of the AWS tools. Empty
// settings leave the choice to the SDK: environment, shared configuration,
// instance or task role.
type AWS struct {
	Region, Endpoint string
	PathStyle        bool
	Profile          string
	RoleARN          string
	ExternalID       string
	AccessKeyID      string
	SecretAccessKey  string

	CAFile, ClientCertFile, ClientKeyFile string
	Proxy                                 string
	Timeout                               time.Duration // of one request until its answer begins; 0 is a minute
	InsecureSkipVerify                    bool
}

// S3Client is what is used of S3.
type S3Client interface {
	ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, opts ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	GetObject(ctx context.Context, in *s3.GetObjectInput, opts ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	HeadBucket(ctx context.Context, in *s3.HeadBucketInput, opts ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
}

// SQSClient is what is used of SQS.
type SQSClient interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, opts ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, opts ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, opts ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, opts ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// defaultTimeout bounds how long an answer may take to begin, and how long it
// may stand still.
const defaultTimeout = time.Minute

func (a *AWS) timeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return defaultTimeout
}

// load makes the SDK's configuration. It reads files and asks no server.
func (a *AWS) load(ctx context.Context, fallbackRegion string) (aws.Config, error) {
	client, err := a.httpClient()
	if err != nil {
		return aws.Config{}, err
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithRetryMaxAttempts(5)}
	if a.Region != "" {
		options = append(options, config.WithRegion(a.Region))
	}
	if a.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(a.Profile))
	}
	if a.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read the AWS configuration: %w", err)
	}
	sameHost(&cfg)
	if cfg.Region == "" {
		cfg.Region = fallbackRegion
	}
	if a.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), a.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "aiwatch"
			if a.ExternalID != "" {
				o.ExternalID = &a.ExternalID
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(role)
	}
	return cfg, nil
}

// httpClient makes the client of all requests.
func (a *AWS) httpClient() (*awshttp.BuildableClient, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: a.InsecureSkipVerify} //nolint:gosec // the operator's explicit choice, warned of at every start
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", a.CAFile)
		}
		tlsConfig.RootCAs = pool
	}
	if a.ClientCertFile != "" {
		pair, err := tls.LoadX509KeyPair(a.ClientCertFile, a.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client_cert_file and client_key_file: %w", err)
		}
		tlsConfig.Certificates = []tls.Certificate{pair}
	}
	proxy := http.ProxyFromEnvironment
	if a.Proxy != "" {
		at, err := url.Parse(a.Proxy)
		if err != nil || at.Host == "" {
			return nil, fmt.Errorf("proxy = %s: use a URL such as http://proxy:3128", a.Proxy)
		}
		proxy = http.ProxyURL(at)
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy = beside(proxy)
		t.TLSClientConfig = tlsConfig
		t.ResponseHeaderTimeout = a.timeout()
		t.MaxIdleConnsPerHost = 2 * ahead
	}), nil
}

// beside leaves the machine's own addresses out of a proxy's reach, as they are
// out of its sight: the SDK asks 169.254.169.254 and its like for the credentials
// of an instance or a container.
func beside(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		addr, err := netip.ParseAddr(req.URL.Hostname())
		if err == nil && (addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr == metadataIPv6) {
			return nil, nil
		}
		return proxy(req)
	}
}

// metadataIPv6 is the instance's metadata service where it has IPv6 alone.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

// sameHost makes cfg's requests go nowhere but where they were sent: a redirect
// is an answer, and tells that the region is another one.
func sameHost(cfg *aws.Config) {
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = &http.Client{
			Transport:     client.GetTransport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
}

// newS3 makes the client of S3.
func (a *AWS) newS3(ctx context.Context) (*s3.Client, error) {
	fallback := ""
	if a.Endpoint != "" {
		fallback = "us-east-1" // what servers other than AWS expect
	}
	cfg, err := a.load(ctx, fallback)
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if a.Endpoint != "" {
			o.BaseEndpoint = &a.Endpoint
		}
		o.UsePathStyle = a.PathStyle
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}), nil
}

// newSQS makes the client of SQS. A queue elsewhere than at AWS is reached where
// its URL says.
func (a *AWS) newSQS(ctx context.Context, queueURL string) (*sqs.Client, error) {
	queue, err := url.Parse(queueURL)
	if err != nil || queue.Host == "" {
		return nil, fmt.Errorf("queue_url = %s: use the URL that SQS gives the queue", queueURL)
	}
	region := "us-east-1"
	atAWS := strings.HasSuffix(queue.Hostname(), ".amazonaws.com") || strings.HasSuffix(queue.Hostname(), ".amazonaws.com.cn")
	if part := strings.Split(queue.Hostname(), "."); atAWS && part[0] == "sqs" {
		region = part[1]
	}
	cfg, err := a.load(ctx, region)
	if err != nil {
		return nil, err
	}
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		if !atAWS {
			base := queue.Scheme + "://" + queue.Host
			o.BaseEndpoint = &base
		}
	}), nil
}
