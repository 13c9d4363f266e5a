package regate.policies.acme.outcomes

deny contains {"id": "acme.outcomes/drop"} if "drop" in input.action.verbs

deny contains {"id": "acme.outcomes/text"} if startswith(input.sql.text, "drop")
