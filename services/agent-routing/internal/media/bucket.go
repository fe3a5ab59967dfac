package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

const (
	// bucketTimeout bounds a call that carries a whole file; bucketAnswer the wait for the first byte of any answer.
	bucketTimeout = time.Minute
	bucketAnswer  = 20 * time.Second
	// bucketTries bounds the calls for one operation; the keeper tries again later.
	bucketTries = 3
)

// BucketOptions say where a bucket is. Every field but Endpoint, Prefix and PathStyle is required.
type BucketOptions struct {
	// Endpoint of a service that is not Amazon's, for example "https://minio.example.com:9000".
	Endpoint             string
	Region, Bucket       string
	Prefix               string
	AccessKey, SecretKey secret.Value
	// PathStyle puts the name of the bucket into the path instead of the name of the host.
	PathStyle bool
}

// Bucket keeps files in a bucket of a service that speaks the protocol of S3, so that replicas need no shared disk. It is safe for
// concurrent use.
type Bucket struct {
	client *s3.Client
	http   *http.Client
	bucket *string
	prefix string
}

// NewBucket returns a store in a bucket, which must be there. Nothing is called before the first file. Close ends idle connections.
func NewBucket(o BucketOptions) *Bucket {
	// No limit for a whole call: a video is read as slowly as the person who looks at it.
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: bucketAnswer}).DialContext, TLSHandshakeTimeout: bucketAnswer,
		ResponseHeaderTimeout: bucketAnswer, IdleConnTimeout: bucketTimeout, MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true,
	}
	options := s3.Options{
		Region: o.Region, UsePathStyle: o.PathStyle, HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: bucketTries,
		// Not every service that speaks the protocol knows the newer checksums. The signature covers the content.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: o.AccessKey.Reveal(), SecretAccessKey: o.SecretKey.Reveal()}, nil
		}),
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = &o.Endpoint
	}
	return &Bucket{client: s3.New(options), http: &http.Client{Transport: transport}, bucket: &o.Bucket, prefix: o.Prefix}
}

// Close ends idle connections.
func (b *Bucket) Close() { b.http.CloseIdleConnections() }

func (b *Bucket) key(id string) (*string, error) {
	at, err := place(id)
	if err != nil {
		return nil, err
	}
	at = b.prefix + at
	return &at, nil
}

// Put stores a file whole or not at all.
func (b *Bucket) Put(ctx context.Context, id string, content []byte) error {
	key, err := b.key(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	size := int64(len(content))
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: b.bucket, Key: key, Body: bytes.NewReader(content), ContentLength: &size})
	return problem("store a file", err)
}

// Get opens a file from an offset.
func (b *Bucket) Get(ctx context.Context, id string, offset int64) (io.ReadCloser, int64, error) {
	key, err := b.key(id)
	if err != nil {
		return nil, 0, err
	}
	in := &s3.GetObjectInput{Bucket: b.bucket, Key: key}
	switch {
	case offset < 0:
		return nil, 0, errOffset
	case offset > 0:
		span := fmt.Sprintf("bytes=%d-", offset)
		in.Range = &span
	}
	got, err := b.client.GetObject(ctx, in)
	if err != nil {
		return nil, 0, problem("open a file", err)
	}
	size, err := sizeOf(got, offset)
	if err != nil {
		return nil, 0, errors.Join(err, got.Body.Close())
	}
	return got.Body, size, nil
}

// sizeOf returns the size of the whole object, of which an answer may be a part: "bytes 100-199/200".
func sizeOf(got *s3.GetObjectOutput, offset int64) (int64, error) {
	if offset == 0 {
		return aws.ToInt64(got.ContentLength), nil
	}
	first, whole, ok := strings.Cut(strings.TrimPrefix(aws.ToString(got.ContentRange), "bytes "), "/")
	size, err := strconv.ParseInt(whole, 10, 64)
	if !ok || err != nil || !strings.HasPrefix(first, strconv.FormatInt(offset, 10)+"-") {
		return 0, fault.New(fault.Unavailable, "open a file: the store answered with another part")
	}
	return size, nil
}

// Delete removes a file and tells whether there was one.
func (b *Bucket) Delete(ctx context.Context, id string) (bool, error) {
	key, err := b.key(id)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	// Deleting says nothing about whether there was something.
	if _, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b.bucket, Key: key}); err != nil {
		if err = problem("delete a file", err); errors.Is(err, errNoFile) {
			return false, nil
		}
		return false, err
	}
	_, err = b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b.bucket, Key: key})
	return err == nil, problem("delete a file", err)
}

// problem makes a fault of an error of the store. What the store refuses, for a wrong key perhaps, is tried again: somebody may
// correct the key before WeChat forgets the file.
func problem(doing string, err error) error {
	if err == nil {
		return nil
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound":
			return errNoFile
		case "InvalidRange":
			return errOffset
		default:
			return fault.Errorf(fault.Unavailable, "%s: the store answers %s", doing, api.ErrorCode())
		}
	}
	return fault.Errorf(fault.Unavailable, "%s: %w", doing, err)
}
