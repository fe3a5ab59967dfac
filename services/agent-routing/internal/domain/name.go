package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The words of friendly names. Only append: a fan must keep the name.
var (
	nameColours = []string{"青", "红", "蓝", "紫", "金", "银", "白", "橙", "碧", "墨", "粉", "棕", "彩", "翠", "朱", "雪"}
	nameThings  = []string{
		"山雀", "海豚", "松鼠", "蜻蜓", "白鹭", "熊猫", "刺猬", "云雀", "企鹅", "小鹿", "金鱼", "狐狸", "水獭", "羚羊", "鹦鹉", "考拉",
		"荷花", "梧桐", "银杏", "茉莉", "腊梅", "青竹", "月季", "红枫", "流星", "晨雾", "海浪", "山风", "溪水", "晚霞", "雨滴", "月光",
	}
)

// Friendly returns the name of a fan whom WeChat gives none, and the seed of their avatar. Both come from a hash of account
// and openid: the same fan has the same name for ever, on every replica, and nobody can read the openid from it.
func Friendly(account, openID string) (name, seed string) {
	h := FanHash(account, openID)
	number := binary.BigEndian.Uint16(h[2:]) % 1000
	return fmt.Sprintf("%s%s%03d", nameColours[h[0]%16], nameThings[h[1]%32], number), hex.EncodeToString(h[4:12])
}

// FanHash is SHA-256 of account and openid, each with its length.
func FanHash(account, openID string) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s", len(account), account, len(openID), openID))
}
