package control

import "hash/fnv"

// FanName is the name that a fan has on every page: two syllables of a place or the weather and two of a bird or a plant.
func FanName(account, openID string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(account + " " + openID)) // a hash never fails
	n := h.Sum64()
	return places[n%uint64(len(places))] + living[n/64%uint64(len(living))]
}

var (
	places = []string{"静水", "拾光", "暖阳", "晨雾", "松间", "北岸", "微雨", "初雪", "晴川", "远山", "南风", "星河", "浅滩", "雾岛", "云岭", "落霞"}
	living = []string{"青鸟", "白鹭", "小满", "海棠", "云雀", "山茶", "杜若", "鹤影", "芦苇", "燕子", "松果", "薄荷", "夜莺", "青竹", "野莓", "鸢尾"}
)
