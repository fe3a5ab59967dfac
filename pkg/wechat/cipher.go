package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrDecrypt is every failure of decryption: bad base64, bad padding, bad length, another appid. One
// error for all of them tells an attacker nothing. It is fault.Invalid.
var ErrDecrypt = fault.New(fault.Invalid, "decrypt: not a message for this account and key")

// Layout of the encrypted text (protocol a.3).
const (
	encodingAESKeyLen = 43
	randomLen         = 16
	lengthLen         = 4
	padBlock          = 32
)

// Cipher encrypts and decrypts with one EncodingAESKey for one appid.
type Cipher struct {
	block cipher.Block
	iv    []byte
	appID string
	rand  io.Reader
}

// NewCipher returns a cipher for the 43 characters of an EncodingAESKey. Keys whose last character
// has bits that base64 does not use are valid; most real keys are such. appID is that of the account,
// or of the component for an Open Platform component. random is where the salt of encrypted texts
// comes from; nil means crypto/rand. The error never contains the key.
func NewCipher(encodingAESKey, appID string, random io.Reader) (*Cipher, error) {
	if len(encodingAESKey) != encodingAESKeyLen {
		return nil, fault.Errorf(fault.Invalid, "encoding_aes_key: must be %d characters, has %d", encodingAESKeyLen, len(encodingAESKey))
	}
	if appID == "" {
		return nil, fault.New(fault.Invalid, "appid: required")
	}
	key, err := base64.StdEncoding.DecodeString(encodingAESKey + "=")
	if err != nil {
		return nil, fault.New(fault.Invalid, "encoding_aes_key: must be letters and digits")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encoding_aes_key: not an AES key")
	}
	if random == nil {
		random = rand.Reader
	}
	return &Cipher{block: block, iv: key[:aes.BlockSize], appID: appID, rand: random}, nil
}

// Decrypt returns the message inside the text of an Encrypt element. The result is not shared. Check
// the signature first: it is what keeps strangers from asking this function anything.
func (c *Cipher) Decrypt(encrypt string) ([]byte, error) {
	msg, appID, err := c.open(encrypt)
	if err != nil || subtle.ConstantTimeCompare(appID, []byte(c.appID)) != 1 {
		return nil, ErrDecrypt
	}
	return msg, nil
}

// open returns the message and the appid that it was encrypted for.
func (c *Cipher) open(encrypt string) (msg, appID []byte, err error) {
	full, err := base64.StdEncoding.DecodeString(encrypt)
	if err != nil || len(full) < 2*aes.BlockSize || len(full)%aes.BlockSize != 0 {
		return nil, nil, ErrDecrypt
	}
	cipher.NewCBCDecrypter(c.block, c.iv).CryptBlocks(full, full)
	full, ok := unpad(full, padBlock)
	if !ok || len(full) < randomLen+lengthLen {
		return nil, nil, ErrDecrypt
	}
	size := binary.BigEndian.Uint32(full[randomLen:])
	rest := full[randomLen+lengthLen:]
	if uint64(size) > uint64(len(rest)) {
		return nil, nil, ErrDecrypt
	}
	return rest[:size:size], rest[size:], nil
}

// Encrypt returns the text of an Encrypt element for msg. It fails only when the random source does.
func (c *Cipher) Encrypt(msg []byte) (string, error) {
	size := randomLen + lengthLen + len(msg) + len(c.appID)
	pad := padBlock - size%padBlock
	full := make([]byte, randomLen, size+pad)
	if _, err := io.ReadFull(c.rand, full); err != nil {
		return "", fmt.Errorf("encrypt: read random bytes: %w", err)
	}
	full = binary.BigEndian.AppendUint32(full, uint32(len(msg)))
	full = append(full, msg...)
	full = append(full, c.appID...)
	for range pad {
		full = append(full, byte(pad))
	}
	cipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(full, full)
	return base64.StdEncoding.EncodeToString(full), nil
}

// unpad removes PKCS#7 padding of the given block size. It looks at the same number of bytes whatever
// the padding is.
func unpad(b []byte, block int) ([]byte, bool) {
	if len(b) == 0 {
		return nil, false
	}
	pad := int(b[len(b)-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, block) &
		subtle.ConstantTimeLessOrEq(pad, len(b))
	for i := 1; i <= min(block, len(b)); i++ {
		inPad := subtle.ConstantTimeLessOrEq(i, pad)
		same := subtle.ConstantTimeByteEq(b[len(b)-i], byte(pad))
		good &= (inPad & same) | (1 - inPad)
	}
	if good != 1 {
		return nil, false
	}
	return b[:len(b)-pad], true
}
