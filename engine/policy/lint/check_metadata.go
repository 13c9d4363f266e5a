package lint

import (
	"slices"
	"strings"
)

// checkMetadata looks at what the METADATA of policy packages says, and does
// not.
func (c *checker) checkMetadata() {
	for _, key := range sortedKeys(c.packages) {
		p := c.packages[key]
		if !p.policy {
			continue
		}
		name := "regate.policies." + p.name
		if p.annotation == nil {
			c.at(idNoMetadata, nil, p.first, "", "%s has no METADATA", name)
			continue
		}
		if p.annotation.Custom["regate"] == nil {
			for _, custom := range sortedKeys(p.annotation.Custom) {
				if closest(custom, []string{"regate"}) != "" {
					c.at(idNoMetadata, nil, p.first, `write "regate"`, "%s: custom.%s means nothing", name, custom)
				}
			}
			for _, misplaced := range []string{"protocols", "mode", "targets"} {
				if _, ok := p.annotation.Custom[misplaced]; ok {
					c.at(idNoMetadata, nil, p.first, "put it below custom.regate", "%s: custom.%s means nothing", name, misplaced)
				}
			}
		}
		if !p.schema {
			c.at(idNoSchema, nil, p.first, "", "%s does not say which schema its input has", name)
		}
		if strings.TrimSpace(p.annotation.Title) == "" || strings.TrimSpace(p.annotation.Description) == "" {
			c.at(idTitle, nil, p.first, "", "%s has no title or no description", name)
		}
		if p.declared == nil {
			c.at(idAllProtocols, nil, p.first, "", "%s is asked about every protocol", name)
		} else if p.annotation != nil {
			for _, s := range p.annotation.Schemas {
				if len(s.Schema) == 2 && len(p.declared) > 0 {
					declared := strings.Trim(s.Schema[1].String(), `"`)
					if declared != "common" && !slices.Contains(protocolNames(p), declared) {
						c.at(idNoSchema, nil, p.first, "schema."+protocolNames(p)[0], "%s is checked against schema.%s, but asked about %s", name, declared, strings.Join(protocolNames(p), ", "))
					}
				}
			}
		}
		if p.shadow {
			c.at(idShadow, nil, p.first, "", "%s is in shadow: what it says is counted and changes nothing", name)
		}
	}
}

func protocolNames(p *pkg) []string {
	out := make([]string, len(p.declared))
	for i, d := range p.declared {
		out[i] = string(d)
	}
	return out
}
