# METADATA
# title: Who asks
# description: Tests of the verified identities of a request.
# scope: package
# schemas:
#   - input: schema.common
package regate.lib.principal

# METADATA
# description: The subject is a member of at least one of the groups.
in_any(groups) if {
	some group in groups
	group in input.subject.groups
}

# METADATA
# description: Somebody acts for the subject (an RFC 8693 actor is present).
delegated if is_object(input.actor)
