plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.maskconver.segmenter"
    compileSdk = extra["sdk.target"] as Int
    defaultConfig { minSdk = extra["sdk.min"] as Int }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    sourceSets["main"].kotlin.srcDir("src/main/kotlin")
}

kotlin { compilerOptions { jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11) } }

// LiteRT is TFLite under its newer name, with the same packages, and libraries for 16 KB pages. The tests run under Maven.
dependencies {
    implementation("com.google.ai.edge.litert:litert:${extra["litert"]}")
    implementation("com.google.ai.edge.litert:litert-gpu:${extra["litert"]}")
    implementation("com.google.ai.edge.litert:litert-gpu-api:${extra["litert"]}")
}
