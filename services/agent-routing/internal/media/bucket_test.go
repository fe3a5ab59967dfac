package media_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media/mediatest"
)

func bucket(t *testing.T, endpoint, key string) *media.Bucket {
	b := media.NewBucket(media.BucketOptions{
		Endpoint: endpoint, Region: mediatest.Region, Bucket: mediatest.BucketOf, Prefix: "wxbus/", PathStyle: true,
		AccessKey: secret.New(mediatest.AccessKey), SecretKey: secret.New(key),
	})
	t.Cleanup(b.Close)
	return b
}

func TestBucket(t *testing.T) {
	mediatest.Run(t, bucket(t, mediatest.NewS3(t).URL, mediatest.SecretKey))
}

func TestABucketHasTheSameNamesAsAFolder(t *testing.T) {
	s := mediatest.NewS3(t)
	require.NoError(t, bucket(t, s.URL, mediatest.SecretKey).Put(t.Context(), "abcd-1.play", []byte("x")))
	require.Equal(t, []string{"wxbus/ab/abcd-1.play"}, s.Keys())
}

func TestABucketThatRefusesUsIsTriedAgainLater(t *testing.T) {
	s := mediatest.NewS3(t)
	b := bucket(t, s.URL, "another secret")
	err := b.Put(t.Context(), "abcd-1", []byte("x"))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorContains(t, err, "SignatureDoesNotMatch", "the operator reads what is wrong")
	_, _, err = b.Get(t.Context(), "abcd-1", 0)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "not as if the file were not there")
	_, err = b.Delete(t.Context(), "abcd-1")
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "an erasure must not believe that it is gone")
	require.Empty(t, s.Keys())
}

func TestABucketThatFailsForAMomentIsAskedAgain(t *testing.T) {
	s := mediatest.NewS3(t)
	var calls atomic.Int32
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(flaky.Close)
	require.NoError(t, bucket(t, flaky.URL, mediatest.SecretKey).Put(t.Context(), "abcd-1", []byte("x")))
	require.EqualValues(t, 2, calls.Load())
	require.Len(t, s.Keys(), 1)
}

func TestABucketThatIsNotThereIsUnavailable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, _, err := bucket(t, gone.URL, mediatest.SecretKey).Get(t.Context(), "abcd-1", 0)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
