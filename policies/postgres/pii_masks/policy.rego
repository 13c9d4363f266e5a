# METADATA
# title: PII masks
# description: |
#   Columns in `fields` and values of the kinds in `detect` are masked for everybody
#   who is not a member of `exempt`. The values of both are masks without id and
#   field, e.g. {"method": "partial", "keep": 4}.
#   Settings: fields, detect (objects), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_pii_masks

import data.regate.lib.principal

fields := site if {
	site := data.regate.settings.sql_pii_masks.fields
} else := data.regate.defaults.sql_pii_masks.fields

detect := site if {
	site := data.regate.settings.sql_pii_masks.detect
} else := data.regate.defaults.sql_pii_masks.detect

exempt := site if {
	site := data.regate.settings.sql_pii_masks.exempt
} else := data.regate.defaults.sql_pii_masks.exempt

settings_known if {
	is_object(fields)
	is_object(detect)
	is_array(exempt)
}

mask contains object.union(how, {"id": "regate.sql_pii_masks/field", "field": field}) if {
	settings_known
	not is_exempt
	some field, how in fields
}

mask contains object.union(how, {"id": "regate.sql_pii_masks/detect", "detect": kind}) if {
	settings_known
	not is_exempt
	some kind, how in detect
}

is_exempt if principal.in_any(exempt)

deny contains {"id": "regate.sql_pii_masks/settings", "msg": "the settings of regate.sql_pii_masks are missing or of the wrong type"} if {
	not settings_known
}
