package mediatest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The one account and bucket that S3 knows.
const (
	AccessKey = "AKIDTEST"
	SecretKey = "secret-of-the-test"
	Region    = "cn-test-1"
	BucketOf  = "desk-files"
)

// S3 is a service that speaks the protocol of S3 as far as a store of files needs it: objects by path, ranges, errors as XML. It
// believes nobody: every request must carry a signature (version 4) that it computes again from the bytes that came.
type S3 struct {
	URL string

	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

// NewS3 starts a service that ends with the test.
func NewS3(t testing.TB) *S3 {
	s := &S3{objects: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Keys returns the names of the objects, sorted.
func (s *S3) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for key := range s.objects {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// ServeHTTP answers one request.
func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "IncompleteBody")
		return
	}
	if code := signed(r, body); code != "" {
		refuse(w, r, http.StatusForbidden, code)
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, "/"+BucketOf+"/")
	if !ok {
		refuse(w, r, http.StatusNotFound, "NoSuchBucket")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch object, there := s.objects[key]; {
	case r.Method == http.MethodPut:
		s.objects[key] = body
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, r, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !there:
		refuse(w, r, http.StatusNotFound, "NoSuchKey")
	default:
		serve(w, r, object)
	}
}

func serve(w http.ResponseWriter, r *http.Request, object []byte) {
	first := 0
	if span := r.Header.Get("Range"); span != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(span, "bytes="), "-"))
		if err != nil || n >= len(object) {
			refuse(w, r, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		first = n
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(object)-1, len(object)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(object)-first))
	if r.Header.Get("Range") != "" {
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(object[first:]) // the test that reads it finds out
	}
}

func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: code})
}

// signed checks the signature of a request and returns the code of what is wrong; empty when nothing is.
func signed(r *http.Request, body []byte) string {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "AccessDenied"
	}
	part := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		part[name] = value
	}
	moment, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(moment).Abs() > 15*time.Minute {
		return "RequestTimeTooSkewed"
	}
	scope := moment.Format("20060102") + "/" + Region + "/s3/aws4_request"
	if part["Credential"] != AccessKey+"/"+scope {
		return "InvalidAccessKeyId"
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) {
		return "XAmzContentSHA256Mismatch"
	}
	names := strings.Split(part["SignedHeaders"], ";")
	if !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-content-sha256") || !slices.Contains(names, "x-amz-date") {
		return "AccessDenied"
	}
	hash := sha256.Sum256([]byte(canonical(r, names)))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
	key := []byte("AWS4" + SecretKey)
	for _, step := range []string{moment.Format("20060102"), Region, "s3", "aws4_request", text} {
		key = mac(key, step)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(part["Signature"])) {
		return "SignatureDoesNotMatch"
	}
	return ""
}

// canonical is what is signed of a request.
func canonical(r *http.Request, names []string) string {
	var b strings.Builder
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, (&url.URL{Path: r.URL.Path}).EscapedPath(), query)
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(names, ";"), r.Header.Get("X-Amz-Content-Sha256"))
	return b.String()
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
