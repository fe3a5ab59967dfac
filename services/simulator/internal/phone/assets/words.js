// The words of the page. Keys are the same in both languages.
export const words = {
  zh: {
    title: '模拟器', fake: '假的微信，不会联系任何真人', plus1m: '快进 1 分钟', plus30m: '快进 30 分钟', plus48h: '快进 48 小时', report: '报告',
    fans: '粉丝', add: '加一位粉丝', book: '这一轮的账', faults: '故障开关', alloff: '全部关', traffic: '往来', onlybad: '只看失败',
    cancel: '取消', ok: '好', pushes: '推送（重推）', acked: '按时应答', seen: '粉丝收到', violations: '违例', empty: '从左边选一位粉丝',
    following: '已关注', notfollowing: '未关注', mini: '小程序', unfollow: '取消关注', follow: '关注', scanfollow: '扫带参二维码关注', scan: '扫码', scene: '场景值',
    nofollow: '还没有关注。关注后会推送 subscribe 事件。', say: '发消息', send: '发送', image: '图片', file: '选文件', unplayable: '浏览器放不了这种格式', voice: '语音', location: '位置', link: '链接', video: '视频',
    enter: '进入会话', card: '小程序卡片', consent: '同意订阅', template: '模板编号', nowindow: '窗口关闭', left: n => `剩 ${n} 条`,
    passive: '被动回复', kf: '客服消息', native: '原生客服', mass: '群发', template_way: '模板消息', subscribe: '订阅消息', attempt: n => `第 ${n} 次推送`,
    prompt: '该公众号提供的服务出现故障，请稍后再试', promptmini: '该小程序客服暂时无法提供服务，请稍后再试', transferred: '已转到微信客服', waiting: '在微信客服排队', active: '微信客服会话中',
    accept: '接入', reply: '回复', close: '结束', replytext: '客服说', did: { subscribe: '关注了', unsubscribe: '取消关注了', scan: '扫了码', click: '点了菜单', view: '打开了网页', user_enter_tempsession: '进入了会话' },
    gone: '图片已过期', pushdelay: '推送延迟', apidelay: '接口延迟', drop: '第 1 次应答丢失，只认重推', dup: '同时推送 2 次', hang: '客服接口已受理但不回（结果未知）', reset: '接口连接重置 5%',
    truncate: '截断的 JSON', errcode: '接口返回 errcode', times: '次', refresh: '别的系统刷新了凭证', once: '触发 1 次', script: '脚本', apply: '应用', recognised: '微信识别成', where: '在哪里', darklight: '深色或浅色', page: '小程序', music: '音乐', unknown: '未知内容',
  },
  en: {
    title: 'Simulator', fake: 'A fake WeChat, no real person is contacted', plus1m: 'Forward 1 min', plus30m: 'Forward 30 min', plus48h: 'Forward 48 h', report: 'Report',
    fans: 'Fans', add: 'Add a fan', book: 'This run', faults: 'Faults', alloff: 'All off', traffic: 'Traffic', onlybad: 'Failures only',
    cancel: 'Cancel', ok: 'OK', pushes: 'Pushes (retries)', acked: 'Answered in time', seen: 'Seen by fans', violations: 'Violations', empty: 'Choose a fan on the left',
    following: 'Following', notfollowing: 'Not following', mini: 'Mini Program', unfollow: 'Unfollow', follow: 'Follow', scanfollow: 'Follow by QR code', scan: 'Scan', scene: 'Scene',
    nofollow: 'Not following yet. Following pushes a subscribe event.', say: 'Message', send: 'Send', image: 'Image', file: 'Choose file', unplayable: 'Browsers cannot play this format', voice: 'Voice', location: 'Location', link: 'Link', video: 'Video',
    enter: 'Enter session', card: 'Card', consent: 'Allow', template: 'Template id', nowindow: 'Window closed', left: n => `${n} left`,
    passive: 'Passive reply', kf: 'Kf message', native: 'Native agent', mass: 'Mass message', template_way: 'Template message', subscribe: 'Subscribe message', attempt: n => `attempt ${n}`,
    prompt: 'The service of this account has a fault, try again later', promptmini: 'The service of this Mini Program is not available, try again later', transferred: 'Handed to WeChat agents', waiting: 'Queued for WeChat agents', active: 'With a WeChat agent',
    accept: 'Accept', reply: 'Reply', close: 'End', replytext: 'The agent says', did: { subscribe: 'followed', unsubscribe: 'unfollowed', scan: 'scanned', click: 'clicked', view: 'opened', user_enter_tempsession: 'entered the session' },
    gone: 'The picture expired', pushdelay: 'Push delay', apidelay: 'API delay', drop: 'First answer lost, only the retry counts', dup: 'Push twice at once', hang: 'Kf API accepts but never answers', reset: 'API connection reset 5%',
    truncate: 'Truncated JSON', errcode: 'API answers errcode', times: 'times', refresh: 'Another system refreshed the token', once: 'Once', script: 'Script', apply: 'Apply', recognised: 'WeChat recognises', where: 'Where', darklight: 'Dark or light', page: 'Mini Program', music: 'Music', unknown: 'Unknown content',
  },
};
