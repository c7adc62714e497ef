// What pom.xml says, for both modules.
plugins {
    id("com.android.application") apply false
    id("com.android.library") apply false
    id("org.jetbrains.kotlin.android") apply false
}

val pom = file("pom.xml").readText()

fun fromPom(element: String) = Regex("<$element>([^<]+)</").find(pom)?.groupValues?.get(1) ?: error("pom.xml has no $element")

subprojects {
    extra["sdk.min"] = fromPom("sdk.min").toInt()
    extra["sdk.target"] = fromPom("sdk.target").toInt()
    extra["litert"] = fromPom("litert.version")
    extra["project"] = fromPom("version")
}
