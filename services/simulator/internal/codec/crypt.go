// Package codec is the simulator's own reading of the WeChat wire protocol: signatures, AES, XML and JSON.
// It shares no code with the gateway on purpose, because it judges what the gateway writes.
// Section numbers refer to the protocol facts sheet (a: signatures and AES, c: pushes, d: replies, e: kf messages).
package codec

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	blockSize  = 32 // PKCS#7 block of the protocol, not of AES
	headerSize = 20 // random16 and the length
)

// ErrCipher is the one error for every ciphertext that cannot be opened.
var ErrCipher = errors.New("ciphertext cannot be opened")

// Sign returns the lower-case hex SHA-1 of the byte-sorted parts, joined without a separator (a.1, a.2).
func Sign(parts ...string) string {
	sorted := slices.Clone(parts)
	slices.Sort(sorted)
	sum := sha1.Sum([]byte(strings.Join(sorted, "")))
	return hex.EncodeToString(sum[:])
}

// Cipher seals and opens message bodies of one account (a.3). It is safe for concurrent use.
type Cipher struct {
	block cipher.Block
	iv    []byte
	appID string
}

// NewCipher returns the cipher of a 43-character EncodingAESKey. Keys whose last character carries
// unused bits are accepted, as WeChat hands them out.
func NewCipher(encodingAESKey, appID string) (*Cipher, error) {
	if len(encodingAESKey) != 43 {
		return nil, fmt.Errorf("encoding_aes_key: must be 43 characters, has %d", len(encodingAESKey))
	}
	key, err := base64.StdEncoding.DecodeString(encodingAESKey + "=")
	if err != nil {
		return nil, errors.New("encoding_aes_key: is not base64")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Cipher{block: block, iv: key[:aes.BlockSize], appID: appID}, nil
}

// Seal returns the base64 text of an encrypted message.
func (c *Cipher) Seal(plain []byte, random [16]byte) string {
	size := headerSize + len(plain) + len(c.appID)
	pad := blockSize - size%blockSize
	buf := make([]byte, 0, size+pad)
	buf = append(buf, random[:]...)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(plain)))
	buf = append(buf, plain...)
	buf = append(buf, c.appID...)
	buf = append(buf, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(buf, buf)
	return base64.StdEncoding.EncodeToString(buf)
}

// Open returns the plain message of a base64 text, or ErrCipher. The appid at its end must be the own one.
func (c *Cipher) Open(box string) ([]byte, error) {
	buf, err := base64.StdEncoding.DecodeString(box)
	if err != nil || len(buf) == 0 || len(buf)%aes.BlockSize != 0 {
		return nil, ErrCipher
	}
	cipher.NewCBCDecrypter(c.block, c.iv).CryptBlocks(buf, buf)
	pad := int(buf[len(buf)-1])
	if pad < 1 || pad > blockSize || pad > len(buf)-headerSize {
		return nil, ErrCipher
	}
	for _, b := range buf[len(buf)-pad:] {
		if int(b) != pad {
			return nil, ErrCipher
		}
	}
	buf = buf[:len(buf)-pad]
	size := binary.BigEndian.Uint32(buf[16:headerSize])
	if uint64(size) > uint64(len(buf)-headerSize) {
		return nil, ErrCipher
	}
	end := headerSize + int(size)
	if string(buf[end:]) != c.appID {
		return nil, ErrCipher
	}
	return buf[headerSize:end], nil
}
