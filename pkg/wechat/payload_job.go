package wechat

import (
	"strconv"
	"strings"
)

// TemplateJob is the result of one template message.
type TemplateJob struct {
	// MsgID is the msgid that the send call returned.
	MsgID string
	// Status is the text of WeChat; Result is its meaning.
	Status string
	Result TemplateResult
}

// TemplateResult is what became of a template message.
type TemplateResult string

// The results of template messages.
const (
	TemplateDelivered    TemplateResult = "delivered"
	TemplateUserBlocked  TemplateResult = "user_blocked"
	TemplateSystemFailed TemplateResult = "system_failed"
	TemplateFailed       TemplateResult = "failed"
)

// MassJob is the result of a mass message.
type MassJob struct {
	MsgID string
	// Status is the text of WeChat. Succeeded is its meaning; Code is the number in err(N).
	Status    string
	Succeeded bool
	Code      int
	// FilterCount is TotalCount without the fans that filters and rejects took out; it equals
	// SentCount + ErrorCount.
	TotalCount, FilterCount, SentCount, ErrorCount int64
	// CopyrightState is the CheckState of the whole job.
	CopyrightState string
	Copyright      []CopyrightResult
	Articles       []ArticleURL
}

// CopyrightResult is the originality check of one article; the values are WeChat's.
type CopyrightResult struct {
	Index                                   int
	UserDeclareState, AuditState            string
	OriginalArticleURL, OriginalArticleType string
	CanReprint, NeedReplaceContent          bool
	NeedShowReprintSource                   bool
}

// ArticleURL is the address of one article of a mass or publish job.
type ArticleURL struct {
	Index int
	URL   string
}

// PublishJob is the result of publishing a draft.
type PublishJob struct {
	PublishID string
	// Status is publish_status: 0 published, 1 in progress, 2 originality check failed, 3 failed,
	// 4 refused by the platform, 5 deleted by the account, 6 banned by the platform; -1 when it is
	// missing or no number.
	Status    int
	ArticleID string
	// Articles may be more than article_detail.count says.
	Articles []ArticleURL
	// FailedIndexes are the articles that failed, counted from 1.
	FailedIndexes []int
}

// massErrors explains the codes of err(N) in MassJob.Status.
var massErrors = map[int]string{
	10001: "advertising",
	20001: "politics",
	20002: "pornography",
	20004: "social",
	20006: "crime",
	20008: "fraud",
	20013: "copyright",
	21000: "other violation",
	22000: "mutual promotion",
	30001: "originality check: system error",
	30002: "originality check: not allowed",
	30003: "originality check: judged a reprint",
	40001: "the administrator refused",
	40002: "the administrator did not confirm within 30 minutes",
}

// Reason explains Code in English; it is empty for a code that is not documented.
func (j MassJob) Reason() string { return massErrors[j.Code] }

func templateJobOf(p *Push, root Tree) TemplateJob {
	status := trimmed(root, "Status")
	job := TemplateJob{MsgID: p.MsgID, Status: status, Result: TemplateFailed}
	switch s := strings.ToLower(status); {
	case s == "success":
		job.Result = TemplateDelivered
	case strings.Contains(s, "block"):
		job.Result = TemplateUserBlocked
	case strings.Contains(s, "system"):
		job.Result = TemplateSystemFailed
	}
	return job
}

func massJobOf(p *Push, root Tree) MassJob {
	status := trimmed(root, "Status")
	job := MassJob{
		MsgID:          p.MsgID,
		Status:         status,
		TotalCount:     parseInt(root.Child("TotalCount").Text()),
		FilterCount:    parseInt(root.Child("FilterCount").Text()),
		SentCount:      parseInt(root.Child("SentCount").Text()),
		ErrorCount:     parseInt(root.Child("ErrorCount").Text()),
		CopyrightState: trimmed(root.Child("CopyrightCheckResult"), "CheckState"),
	}
	job.Succeeded, job.Code = massStatus(status)
	for item := range listOf(root.Child("CopyrightCheckResult"), "ResultList") {
		job.Copyright = append(job.Copyright, copyrightOf(item))
	}
	for item := range listOf(root.Child("ArticleUrlResult"), "ResultList") {
		job.Articles = append(job.Articles, ArticleURL{
			Index: int(parseInt(item.Child("ArticleIdx").Text())),
			URL:   trimmed(item, "ArticleUrl"),
		})
	}
	return job
}

// massStatus reads "send success", "sendsuccess", "send fail" and "err(30003)".
func massStatus(status string) (succeeded bool, code int) {
	s := strings.ToLower(strings.ReplaceAll(status, " ", ""))
	if digits, ok := strings.CutPrefix(s, "err("); ok {
		code, err := strconv.Atoi(strings.TrimSuffix(digits, ")"))
		if err != nil {
			return false, 0
		}
		return false, code
	}
	return s == "sendsuccess", 0
}

func copyrightOf(item Tree) CopyrightResult {
	return CopyrightResult{
		Index:                 int(parseInt(item.Child("ArticleIdx").Text())),
		UserDeclareState:      trimmed(item, "UserDeclareState"),
		AuditState:            trimmed(item, "AuditState"),
		OriginalArticleURL:    trimmed(item, "OriginalArticleUrl"),
		OriginalArticleType:   trimmed(item, "OriginalArticleType"),
		CanReprint:            trimmed(item, "CanReprint") == "1",
		NeedReplaceContent:    trimmed(item, "NeedReplaceContent") == "1",
		NeedShowReprintSource: trimmed(item, "NeedShowReprintSource") == "1",
	}
}

func publishJobOf(info Tree) PublishJob {
	job := PublishJob{
		PublishID: trimmed(info, "publish_id"),
		Status:    -1,
		ArticleID: trimmed(info, "article_id"),
	}
	if status, err := strconv.Atoi(trimmed(info, "publish_status")); err == nil {
		job.Status = status
	}
	for item := range listOf(info, "article_detail") {
		if url := trimmed(item, "article_url"); url != "" {
			job.Articles = append(job.Articles, ArticleURL{Index: int(parseInt(item.Child("idx").Text())), URL: url})
		}
	}
	for index := range info.All("fail_idx") {
		job.FailedIndexes = append(job.FailedIndexes, int(parseInt(index.Text())))
	}
	return job
}
