package wechat

// Payload returns the typed content of the push, or nil when its common fields and its [Tree] say
// everything. MsgType and Event decide the type, whatever other elements the body holds:
//
//	Text, Media, File, Location, Link, MiniProgramPage, Device                     messages
//	Follow, Scan, MenuView, ScanCode, Pictures, Location, TempSession              events of a fan
//	TemplateJob, MassJob, PublishJob                                               results of jobs
//	KfSession, SubscribeMessages, UserData                                         other events
//	Authorization                                                                  InfoType pushes
//
// Missing fields are zero. Numbers that cannot be read are zero.
func (p *Push) Payload() any {
	root := p.Tree()
	if p.MsgType == "" {
		if p.InfoType != "" {
			return authorizationOf(root)
		}
		return nil
	}
	if p.MsgType == typeEvent {
		return p.eventPayload(root)
	}
	return p.messagePayload(root)
}

func (p *Push) messagePayload(root Tree) any {
	switch p.MsgType {
	case typeText:
		return textOf(root)
	case "image", "voice", "video", "shortvideo":
		return mediaOf(root)
	case "file":
		return fileOf(root)
	case "location":
		return locationOf(root)
	case "link":
		return linkOf(root)
	case "miniprogrampage":
		return miniProgramPageOf(root)
	case typeDeviceText, typeDeviceEvent, typeHardware:
		return deviceOf(root)
	default:
		return nil
	}
}

func (p *Push) eventPayload(root Tree) any {
	switch p.Event {
	case eventSubscribe:
		return followOf(p)
	case eventScan:
		return Scan{Scene: p.EventKey, Ticket: p.Ticket}
	case eventLocation:
		return reportedLocationOf(root)
	case "view", "view_miniprogram":
		return MenuView{Target: p.EventKey, MenuID: trimmed(root, "MenuId")}
	case "scancode_push", "scancode_waitmsg":
		return scanCodeOf(root)
	case "pic_sysphoto", "pic_photo_or_album", "pic_weixin":
		return picturesOf(root)
	case "location_select":
		return locationOf(root.Child("SendLocationInfo"))
	case eventTempSession:
		return TempSession{SessionFrom: root.Child("SessionFrom").Text()}
	case "templatesendjobfinish":
		return templateJobOf(p, root)
	case "masssendjobfinish":
		return massJobOf(p, root)
	case "publishjobfinish", "freepublishjobfinish":
		return publishJobOf(root.Child("PublishEventInfo"))
	case "kf_create_session", "kf_close_session", "kf_switch_session":
		return kfSessionOf(root)
	case "subscribe_msg_popup_event":
		return subscribeMessagesOf(root, "SubscribeMsgPopupEvent")
	case "subscribe_msg_change_event":
		return subscribeMessagesOf(root, "SubscribeMsgChangeEvent")
	case "subscribe_msg_sent_event":
		return subscribeMessagesOf(root, "SubscribeMsgSentEvent")
	case "user_info_modified", "user_authorization_revoke", "user_authorization_cancellation":
		return userDataOf(p, root)
	default:
		return nil
	}
}
