package wechat

import "strings"

// knownMessages are the message types of protocol c.1.
var knownMessages = setOf(
	typeText, "image", "voice", "video", "shortvideo", "location", "link", "miniprogrampage", "file",
	typeDeviceText, typeDeviceEvent, typeHardware,
)

// knownEvents are the events of protocol c.2. Those without a payload type are read through the Tree.
var knownEvents = setOf(
	// Following, scanning, menu.
	eventSubscribe, eventUnsubscribe, eventScan, eventLocation, "click", "view", "view_miniprogram",
	"scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin",
	"location_select", eventTempSession, "enter",
	// Jobs.
	"templatesendjobfinish", "masssendjobfinish", "publishjobfinish", "freepublishjobfinish",
	// Native customer service.
	"kf_create_session", "kf_close_session", "kf_switch_session",
	// Subscribe notifications.
	"subscribe_msg_popup_event", "subscribe_msg_change_event", "subscribe_msg_sent_event",
	// User data.
	"user_info_modified", "user_authorization_revoke", "user_authorization_cancellation",
	// Verification of the account.
	"qualification_verify_success", "qualification_verify_fail", "naming_verify_success",
	"naming_verify_fail", "annual_renew", "verify_expired",
	// Cards and invoices.
	"card_pass_check", "card_not_pass_check", "user_get_card", "user_gifting_card", "user_del_card",
	"user_consume_card", "user_pay_from_pay_cell", "user_view_card", "user_enter_session_from_card",
	"update_member_card", "card_sku_remind", "card_pay_order", "submit_membercard_user_info",
	"user_authorize_invoice", "update_invoice_status", "submit_invoice_title",
	// Shops, places, devices, guides.
	"merchant_order", "shakearoundusershake", "wificonnected", "poi_check_notify",
	"guide_qrcode_scan_event",
	// Mini Programs.
	"wxa_media_check", "weapp_audit_success", "weapp_audit_fail", "weapp_audit_delay",
	"wxa_nickname_audit", "wxa_category_audit", "wxa_privacy_apply", "wxa_appeal_record",
	"debug_demo",
	// Logistics.
	"add_express_path", "add_waybill", "cancel_waybill", "check_biz", "get_quota",
	"cancel_auth_account",
)

// knownEventPrefixes are families of events that WeChat extends without notice.
var knownEventPrefixes = []string{"giftcard_", "xpay_", "open_product_", "user_scan_product"}

// knownInfoTypes are the pushes to an Open Platform component (protocol h).
var knownInfoTypes = setOf("component_verify_ticket", "authorized", "updateauthorized", "unauthorized")

// documentedSpelling maps every known type, as documented, to its lower-case form.
var documentedSpelling = spellings()

func spellings() map[string]string {
	m := map[string]string{
		"SCAN": eventScan, "LOCATION": eventLocation, "CLICK": "click", "VIEW": "view", "ENTER": "enter",
		"TEMPLATESENDJOBFINISH": "templatesendjobfinish", "MASSSENDJOBFINISH": "masssendjobfinish",
		"PUBLISHJOBFINISH": "publishjobfinish", "FREEPUBLISHJOBFINISH": "freepublishjobfinish",
		"ShakearoundUserShake": "shakearoundusershake", "WifiConnected": "wificonnected",
		typeEvent: typeEvent, "": "",
	}
	for _, set := range []map[string]struct{}{knownMessages, knownEvents, knownInfoTypes} {
		for name := range set {
			m[name] = name
		}
	}
	return m
}

func isKnownType(msgType, event string) bool {
	if msgType != typeEvent {
		_, ok := knownMessages[msgType]
		return ok
	}
	if _, ok := knownEvents[event]; ok {
		return true
	}
	for _, prefix := range knownEventPrefixes {
		if strings.HasPrefix(event, prefix) {
			return true
		}
	}
	return false
}

func isKnownInfoType(infoType string) bool {
	_, ok := knownInfoTypes[infoType]
	return ok || strings.HasPrefix(infoType, "notify_third_")
}

func setOf(names ...string) map[string]struct{} {
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	return set
}
