package certs_test

import (
	"testing"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
