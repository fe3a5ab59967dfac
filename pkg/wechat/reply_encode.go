package wechat

import "strconv"

// EncodeReply returns the body of a passive reply within the default ReplyLimits. It never returns an
// empty or malformed reply: those make WeChat show a fault to the fan, so they are errors here, and
// the caller answers Ack instead.
func EncodeReply(format Format, r Reply) ([]byte, error) {
	return AppendReply(nil, format, r, ReplyLimits{})
}

// AppendReply is EncodeReply with other limits; it appends to dst.
func AppendReply(dst []byte, format Format, r Reply, limits ReplyLimits) ([]byte, error) {
	if err := r.Validate(limits); err != nil {
		return nil, err
	}
	if dst == nil {
		dst = make([]byte, 0, 512)
	}
	if format == JSON {
		return appendReplyJSON(dst, r), nil
	}
	return appendReplyXML(dst, r), nil
}

func appendReplyXML(dst []byte, r Reply) []byte {
	dst = append(dst, "<xml>"...)
	dst = appendElement(dst, "ToUserName", r.ToUserName)
	dst = appendElement(dst, "FromUserName", r.FromUserName)
	dst = appendInt(dst, "CreateTime", r.CreateTime)
	dst = appendElement(dst, "MsgType", r.Body.MsgType())
	dst = r.Body.appendXML(dst)
	return append(dst, "</xml>"...)
}

func appendReplyJSON(dst []byte, r Reply) []byte {
	dst = append(dst, `{"ToUserName":`...)
	dst = AppendJSONString(dst, r.ToUserName)
	dst = appendMember(dst, "FromUserName", r.FromUserName)
	dst = append(dst, `,"CreateTime":`...)
	dst = strconv.AppendInt(dst, r.CreateTime, 10)
	dst = appendMember(dst, "MsgType", r.Body.MsgType())
	dst = r.Body.appendJSON(dst)
	return append(dst, '}')
}

// appendMember appends ,"name":"value".
func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return AppendJSONString(dst, value)
}

// appendMembers appends an object of the pairs whose value is not empty, or all of them when always.
func appendMembers(dst []byte, always bool, pairs ...[2]string) []byte {
	open := len(dst)
	dst = append(dst, '{')
	for _, p := range pairs {
		if always || p[1] != "" {
			dst = appendMember(dst, p[0], p[1])
		}
	}
	if len(dst) > open+1 {
		dst = append(dst[:open+1], dst[open+2:]...) // the first comma
	}
	return append(dst, '}')
}

// appendElements appends the elements of the pairs, inside an element of that name.
func appendElements(dst []byte, name string, always bool, pairs ...[2]string) []byte {
	dst = append(append(append(dst, '<'), name...), '>')
	for _, p := range pairs {
		if always || p[1] != "" {
			dst = appendElement(dst, p[0], p[1])
		}
	}
	return append(append(append(dst, "</"...), name...), '>')
}

func (t TextReply) appendXML(dst []byte) []byte  { return appendElement(dst, "Content", t.Content) }
func (t TextReply) appendJSON(dst []byte) []byte { return appendMember(dst, "Content", t.Content) }

func (i ImageReply) appendXML(dst []byte) []byte  { return appendMediaXML(dst, "Image", i.MediaID) }
func (i ImageReply) appendJSON(dst []byte) []byte { return appendMediaJSON(dst, "Image", i.MediaID) }

func (v VoiceReply) appendXML(dst []byte) []byte  { return appendMediaXML(dst, "Voice", v.MediaID) }
func (v VoiceReply) appendJSON(dst []byte) []byte { return appendMediaJSON(dst, "Voice", v.MediaID) }

func appendMediaXML(dst []byte, name, mediaID string) []byte {
	return appendElements(dst, name, true, [2]string{"MediaId", mediaID})
}

func appendMediaJSON(dst []byte, name, mediaID string) []byte {
	return appendMembers(append(dst, `,"`+name+`":`...), true, [2]string{"MediaId", mediaID})
}

func (v VideoReply) appendXML(dst []byte) []byte {
	return appendElements(dst, "Video", false, v.pairs()...)
}

func (v VideoReply) appendJSON(dst []byte) []byte {
	return appendMembers(append(dst, `,"Video":`...), false, v.pairs()...)
}

func (v VideoReply) pairs() [][2]string {
	return [][2]string{{"MediaId", v.MediaID}, {"Title", v.Title}, {"Description", v.Description}}
}

func (m MusicReply) appendXML(dst []byte) []byte {
	return appendElements(dst, "Music", false, m.pairs()...)
}

func (m MusicReply) appendJSON(dst []byte) []byte {
	return appendMembers(append(dst, `,"Music":`...), false, m.pairs()...)
}

func (m MusicReply) pairs() [][2]string {
	return [][2]string{
		{"Title", m.Title}, {"Description", m.Description}, {"MusicUrl", m.MusicURL},
		{"HQMusicUrl", m.HQMusicURL}, {"ThumbMediaId", m.ThumbMediaID},
	}
}

func (n NewsReply) appendXML(dst []byte) []byte {
	dst = appendInt(dst, "ArticleCount", int64(len(n.Articles)))
	dst = append(dst, "<Articles>"...)
	for _, a := range n.Articles {
		dst = appendElements(dst, "item", true, a.pairs()...)
	}
	return append(dst, "</Articles>"...)
}

func (n NewsReply) appendJSON(dst []byte) []byte {
	dst = append(dst, `,"ArticleCount":`...)
	dst = strconv.AppendInt(dst, int64(len(n.Articles)), 10)
	dst = append(dst, `,"Articles":[`...)
	for i, a := range n.Articles {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMembers(dst, true, a.pairs()...)
	}
	return append(dst, ']')
}

func (a Article) pairs() [][2]string {
	return [][2]string{
		{"Title", a.Title}, {"Description", a.Description}, {"PicUrl", a.PicURL}, {"Url", a.URL},
	}
}

func (t TransferReply) appendXML(dst []byte) []byte {
	if t.KfAccount == "" {
		return dst
	}
	return appendElements(dst, "TransInfo", true, [2]string{"KfAccount", t.KfAccount})
}

func (t TransferReply) appendJSON(dst []byte) []byte {
	if t.KfAccount == "" {
		return dst
	}
	return appendMembers(append(dst, `,"TransInfo":`...), true, [2]string{"KfAccount", t.KfAccount})
}

func (AIReply) appendXML(dst []byte) []byte  { return dst }
func (AIReply) appendJSON(dst []byte) []byte { return dst }
