package webhook

// Dialer is dialer, to test what happens once a name is resolved.
var Dialer = dialer
