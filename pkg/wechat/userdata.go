package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
)

// DecryptUserData returns the JSON inside encryptedData of a Mini Program (protocol a.6): AES-128-CBC
// under the session key, both given in base64. The watermark must name appID. Every failure is
// ErrDecrypt.
func DecryptUserData(encryptedData, iv, sessionKey, appID string) ([]byte, error) {
	key, errKey := base64.StdEncoding.DecodeString(sessionKey)
	vector, errIV := base64.StdEncoding.DecodeString(iv)
	data, errData := base64.StdEncoding.DecodeString(encryptedData)
	if errKey != nil || errIV != nil || errData != nil || len(key) != 16 || len(vector) != aes.BlockSize ||
		len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, ErrDecrypt
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, ErrDecrypt
	}
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(data, data)
	plain, ok := unpad(data, aes.BlockSize)
	if !ok {
		return nil, ErrDecrypt
	}
	var content struct {
		Watermark struct {
			AppID string `json:"appid"`
		} `json:"watermark"`
	}
	if json.Unmarshal(plain, &content) != nil || appID == "" || content.Watermark.AppID != appID {
		return nil, ErrDecrypt
	}
	return plain, nil
}
