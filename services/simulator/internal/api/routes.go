package api

// routes returns every path of the API.
func routes() map[string]endpoint {
	m := map[string]endpoint{}
	for _, add := range []func(map[string]endpoint){
		tokenRoutes, quotaRoutes, customRoutes, templateRoutes, massRoutes, mediaRoutes, menuRoutes, userRoutes, tagRoutes, kfRoutes, networkRoutes, snsRoutes,
	} {
		add(m)
	}
	return m
}
